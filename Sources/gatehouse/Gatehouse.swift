import ArgumentParser

@main
struct Gatehouse: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "gatehouse", abstract: "Does this kernel entry code survive?")
}
