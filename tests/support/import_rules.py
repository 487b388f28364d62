"""Contracts that import-linter lacks: rooms on floors, and homes of libraries."""

from typing import Any

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck


class RoomsContract(Contract):
    """Modules of a package import from their own room and from the floors below it.

    `floors` names sub-packages from the top floor to the bottom, separated by `|` within a floor.
    Other modules, and the package itself, are above all floors.
    """

    type_name = "rooms"

    package: Any = fields.StringField()
    floors: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """Return every import of a higher floor, or of another room on the same floor."""
        floor_of = {
            room.strip(): number
            for number, floor in enumerate(self.floors, start=1)
            for room in floor.split("|")
        }
        upwards = []
        for importer in sorted(graph.modules):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                here, there = self._room(importer, floor_of), self._room(imported, floor_of)
                if here is None or here == there or not self._is_ours(imported):
                    continue
                if floor_of[here] >= floor_of.get(there or "", 0):
                    upwards.append((importer, imported))
        return ContractCheck(kept=not upwards, metadata={"upwards": upwards})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print a line for each import that is not allowed."""
        for importer, imported in check.metadata["upwards"]:
            output.print_error(f"{importer} may not import {imported}")

    def _is_ours(self, module: str) -> bool:
        return f"{module}.".startswith(f"{self.package}.")

    def _room(self, module: str, known: dict[str, int]) -> str | None:
        package, _, rest = module.partition(".")
        room = rest.partition(".")[0]
        return room if package == self.package and room in known else None


class HomesContract(Contract):
    """Libraries are imported only at home: in these modules, or anywhere in these packages."""

    type_name = "homes"

    libraries: Any = fields.ListField(subfield=fields.StringField())
    homes: Any = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """Return every import of a library outside its home."""
        strangers = [
            (importer, library)
            for library in self.libraries
            if library in graph.modules
            for importer in sorted(graph.find_modules_that_directly_import(library))
            if not any(f"{importer}.".startswith(f"{home}.") for home in self.homes)
        ]
        return ContractCheck(kept=not strangers, metadata={"strangers": strangers})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print a line for each import that is not allowed."""
        for importer, library in check.metadata["strangers"]:
            output.print_error(f"{importer} may not import {library}")
