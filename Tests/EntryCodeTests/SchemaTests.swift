import EntryCode
import Testing

/// The published schema and the reader say the same.
struct SchemaTests {
    private func keys(_ path: String...) throws -> [String] {
        var schema = EntryTable.schema
        for step in path { schema = try #require(schema[step], "\(path)") }
        return try #require(schema["properties"]?.objectValue).map(\.key).sorted()
    }

    @Test("every object has the keys that the reader knows, and no other")
    func sameKeys() throws {
        let entry = ["properties", "entries", "items"]
        #expect(try keys() == EntryTable.documentKeys.sorted())
        #expect(try keys(entry[0], entry[1], entry[2]) == EntryTable.entryKeys.sorted())
        #expect(try keys("properties", "idt", "items") == EntryTable.idtKeys.sorted())
        #expect(try keys("properties", "xen") == EntryTable.xenKeys.sorted())
        #expect(try keys("properties", "xen", "properties", "traps", "items") == EntryTable.trapKeys.sorted())
        #expect(try keys("properties", "xen", "properties", "callbacks") == EntryTable.callbackKeys.sorted())
        #expect(try keys("properties", "source") == EntryTable.sourceKeys.sorted())
        #expect(try keys("properties", "machine") == EntryTable.machineKeys.sorted())
        #expect(try keys("properties", "machine", "properties", "stacks") == EntryTable.stackKeys.sorted())
        #expect(try keys("properties", "machine", "properties", "espfix") == EntryTable.espfixKeys.sorted())
        #expect(try keys("properties", "machine", "properties", "kernel_rsp") == EntryTable.kernelRSPKeys.sorted())
        #expect(try keys("properties", "machine", "properties", "self_test") == EntryTable.selfTestKeys.sorted())
        #expect(
            try keys("properties", "machine", "properties", "code", "additionalProperties")
                == EntryTable.placementKeys.sorted())
        #expect(try keys("$defs", "stretch") == EntryTable.stretchKeys.sorted())
    }

    @Test("strict everywhere, described everywhere")
    func strict() {
        func visit(_ schema: JSON, _ place: String) {
            if schema["properties"] != nil {
                #expect(schema["additionalProperties"] != nil && schema["additionalProperties"] != true, "\(place)")
            }
            for member in schema["properties"]?.objectValue ?? [] {
                #expect(member.value["description"] != nil, "\(place)/\(member.key)")
                visit(member.value, place + "/" + member.key)
            }
            if let items = schema["items"] { visit(items, place + "/[]") }
            if let values = schema["additionalProperties"], values.objectValue != nil { visit(values, place + "/*") }
        }
        visit(EntryTable.schema, "")
        for definition in EntryTable.schema["$defs"]?.objectValue ?? [] {
            visit(definition.value, "$defs/" + definition.key)
        }
    }

    @Test("shipped tables and the schema's example validate, and read")
    func valid() throws {
        let validator = SchemaValidator(root: EntryTable.schema)
        for kernel in KernelLibrary.shipped.kernels {
            #expect(validator.faults(kernel.document) == [])
        }
        for example in try #require(EntryTable.schema["examples"]?.arrayValue) {
            #expect(validator.faults(example) == [])
            #expect(throws: Never.self) { _ = try EntryTable.read(example) }
        }
    }

    @Test("what the reader refuses by shape, the schema refuses")
    func invalid() {
        let validator = SchemaValidator(root: EntryTable.schema)
        let documents = [
            "{}", "[]", "{\"kernel\": 5}", "{\"kernel\": \"x\", \"nmae\": \"y\"}",
            "{\"kernel\": \"x\", \"entries\": [{}]}",
            "{\"kernel\": \"x\", \"idt\": [{\"vector\": 256, \"entry\": \"a\"}]}",
            "{\"kernel\": \"x\", \"idt\": [{\"vector\": 3, \"entry\": \"a\", \"type\": \"call\"}]}",
            "{\"kernel\": \"x\", \"xen\": {\"version\": \"4.7\"}}",
            "{\"kernel\": \"x\", \"options\": {\"SMAP\": \"y\"}}",
            "{\"kernel\": \"x\", \"machine\": {\"per_cpu_base\": \"ffff\"}}",
            "{\"kernel\": \"x\", \"routines\": {\"a b\": \"\"}}",
            "{\"kernel\": \"x\", \"name\": \"a/b\"}",
        ]
        for text in documents {
            let value = try? JSON.parse(Array(text.utf8)).value
            #expect(validator.faults(value ?? .null) != [], "\(text)")
        }
    }
}

/// The part of JSON Schema 2020-12 that the schema uses.
private struct SchemaValidator {
    let root: JSON

    func faults(_ value: JSON) -> [String] { faults(value, root, "") }

    private func faults(_ value: JSON, _ schema: JSON, _ place: String) -> [String] {
        guard let keywords = schema.objectValue else { return [] }
        var result: [String] = []
        for keyword in keywords {
            switch keyword.key {
            case "$ref":
                let name = keyword.value.stringValue?.split(separator: "/").last.map(String.init) ?? ""
                guard let target = root["$defs"]?[name] else { return ["no definition \(name)"] }
                result += faults(value, target, place)
            case "type": if !isKind(value, keyword.value.stringValue ?? "") { result.append("\(place): type") }
            case "enum": if keyword.value.arrayValue?.contains(value) != true { result.append("\(place): enum") }
            case "anyOf":
                let alternatives = keyword.value.arrayValue ?? []
                if !alternatives.contains(where: { faults(value, $0, place).isEmpty }) {
                    result.append("\(place): anyOf")
                }
            case "minimum", "maximum":
                if let number = value.integerValue, let bound = keyword.value.integerValue,
                    keyword.key == "minimum" ? number < bound : number > bound
                {
                    result.append("\(place): \(keyword.key)")
                }
            case "maxLength":
                if let text = value.stringValue, text.unicodeScalars.count > keyword.value.integerValue ?? 0 {
                    result.append("\(place): maxLength")
                }
            case "pattern":
                if let text = value.stringValue, let pattern = keyword.value.stringValue,
                    (try? Regex(pattern).firstMatch(in: text)) == nil
                {
                    result.append("\(place): pattern")
                }
            case "maxItems":
                if (value.arrayValue?.count ?? 0) > keyword.value.integerValue ?? 0 {
                    result.append("\(place): maxItems")
                }
            case "maxProperties":
                if (value.objectValue?.count ?? 0) > keyword.value.integerValue ?? 0 {
                    result.append("\(place): maxProperties")
                }
            case "items":
                for (index, element) in (value.arrayValue ?? []).enumerated() {
                    result += faults(element, keyword.value, "\(place)/\(index)")
                }
            case "required":
                for key in keyword.value.arrayValue ?? [] where value.objectValue != nil {
                    if value[key.stringValue ?? ""] == nil {
                        result.append("\(place): required \(key.stringValue ?? "")")
                    }
                }
            case "propertyNames":
                for member in value.objectValue ?? [] { result += faults(.string(member.key), keyword.value, place) }
            case "properties":
                for property in keyword.value.objectValue ?? [] {
                    if let member = value[property.key] {
                        result += faults(member, property.value, "\(place)/\(property.key)")
                    }
                }
            case "additionalProperties":
                let known = Set((schema["properties"]?.objectValue ?? []).map(\.key))
                for member in value.objectValue ?? [] where !known.contains(member.key) {
                    if keyword.value == false {
                        result.append("\(place): additional \(member.key)")
                    } else {
                        result += faults(member.value, keyword.value, "\(place)/\(member.key)")
                    }
                }
            case "$schema", "$id", "$defs", "title", "description", "examples": break
            default: result.append("unknown keyword \(keyword.key)")
            }
        }
        return result
    }

    private func isKind(_ value: JSON, _ kind: String) -> Bool {
        switch (kind, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("integer", .integer), ("null", .null),
            ("boolean", .bool):
            true
        default: false
        }
    }
}
