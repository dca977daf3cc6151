"""An import-linter contract: whoever is outside a module sees its door, the package itself, and no room behind it."""

from importlinter import Contract, ContractCheck, fields, output


class DoorsContract(Contract):
    """`modules` are the packages with doors; `keyholders` may enter rooms, such as what wires the house."""

    modules = fields.ListField(subfield=fields.StringField())
    keyholders = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph, verbose):
        allowed = set(self.keyholders or ())
        breaches = []
        for door in self.modules:
            inside = graph.find_descendants(door)
            for room in inside:
                outsiders = graph.find_modules_that_directly_import(room) - inside - {door} - allowed
                breaches += [f"{importer} -> {room}: import {door} instead" for importer in outsiders]
        return ContractCheck(kept=not breaches, metadata={"breaches": sorted(breaches)})

    def render_broken_contract(self, check):
        for breach in check.metadata["breaches"]:
            output.print_error(breach)
