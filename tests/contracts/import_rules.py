"""A kind of rule that import-linter does not have: a module may import these, and nothing else."""

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.helpers import module_expressions_to_modules


class Only(Contract):
    """Contract type `only`: `modules` import the standard library, each other, and `may_import`."""

    type_name = "only"

    modules = fields.SetField(subfield=fields.ModuleExpressionField())
    may_import = fields.SetField(subfield=fields.ModuleExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        ours = named(graph, self.modules)
        allowed = ours | named(graph, self.may_import or set())
        broken = {
            (module, imported)
            for module in ours
            for imported in graph.find_modules_directly_imported_by(module)
            if imported not in allowed and imported.split(".")[0] not in sys.stdlib_module_names
        }
        return ContractCheck(kept=not broken, metadata={"broken": sorted(broken)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} may not import {imported}")


def named(graph: ImportGraph, expressions: Any) -> set[str]:
    """Raises ValueError for a name that is no module: it would be a rule about nothing."""
    modules = module_expressions_to_modules(graph, expressions, raise_if_unmatched=True)
    return {module.name for module in modules}
