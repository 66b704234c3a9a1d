import ArgumentParser

@main
struct Gatehouse: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "gatehouse", abstract: "Does this kernel entry code survive?")
    @Argument var name: String = "linux-5.2"
    @Argument var pattern: String?
    func run() { tryIt(name, xen: nil, pattern: pattern) }
}
