import Foundation

// embed-files FOLDER OUTPUT: writes a Swift file that holds the text of every file below FOLDER.

let arguments = CommandLine.arguments
guard arguments.count == 3 else {
    FileHandle.standardError.write(Data("usage: embed-files FOLDER OUTPUT\n".utf8))
    exit(2)
}
let root = URL(fileURLWithPath: arguments[1]).standardizedFileURL
var paths: [String] = []
if let walk = FileManager.default.enumerator(atPath: root.path) {
    for case let path as String in walk {
        var isFolder: ObjCBool = false
        let full = root.appendingPathComponent(path).path
        if FileManager.default.fileExists(atPath: full, isDirectory: &isFolder), !isFolder.boolValue,
            !path.split(separator: "/").contains(where: { $0.hasPrefix(".") })
        {
            paths.append(path)
        }
    }
}
paths.sort()

var out = "// Generated from \(root.lastPathComponent)/ by embed-files; do not edit.\n\n"
out += "enum EmbeddedFiles {\n    static let all: [(path: StaticString, text: StaticString)] = [\n"
for path in paths {
    let text: String
    do {
        text = try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    } catch {
        FileHandle.standardError.write(Data("embed-files: \(path): \(error)\n".utf8))
        exit(1)
    }
    out += "        (path: \"\(path)\", text: \"\""
    out.removeLast(2)
    out += "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\\": out += "\\\\"
        case "\"": out += "\\\""
        case "\n": out += "\\n"
        case "\r": out += "\\r"
        case "\t": out += "\\t"
        case "\0": out += "\\0"
        default: out.unicodeScalars.append(scalar)
        }
    }
    out += "\"),\n"
}
out += "    ]\n}\n"
do {
    try out.write(toFile: arguments[2], atomically: true, encoding: .utf8)
} catch {
    FileHandle.standardError.write(Data("embed-files: \(arguments[2]): \(error)\n".utf8))
    exit(1)
}
