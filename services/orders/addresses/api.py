"""HTTP: an address as its country writes it, and what a desktop has to ask for it. Nothing is kept
here: addresses are given with an order."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from eventkit.decider import NotFound
from eventkit.http import Body, ClientOf, Text, example
from services.orders.addresses.address import Address
from services.orders.addresses.rules import (
    MAX_LINE,
    MAX_LINES,
    MAX_POSTAL_CODE,
    Choices,
    Rules,
    countries,
    formatted,
    normalise,
    rules,
)

COUNTRY = r"^[A-Za-z]{2}$"
Country = Annotated[str, Field(pattern=COUNTRY, examples=["FR"])]
Part = Annotated[Text, Field(max_length=MAX_LINE)]


class AddressBody(Body):
    """lines: street and house number, and what belongs to it. region: as on an envelope, or its
    name. as_spoken: the customer's own words, which are kept as they are."""

    model_config = example(
        country="FR",
        lines=["12 rue de la Paix"],
        postal_code="75002",
        locality="Paris",
        as_spoken="douze rue de la Paix, à Paris, dans le deuxième",
    )

    country: Country
    lines: list[Part] = Field(max_length=MAX_LINES)
    postal_code: Annotated[Text, Field(max_length=2 * MAX_POSTAL_CODE)] = ""
    locality: Part = ""
    region: Part = ""
    as_spoken: Text = ""

    def domain(self) -> Address:
        """As it was given; rules.normalise makes it what its country writes."""
        return Address(
            self.country,
            tuple(self.lines),
            self.postal_code,
            self.locality,
            self.region,
            self.as_spoken,
        )


class AddressView(BaseModel):
    """formatted: line by line as on an envelope, to be read back. All empty once its customer is
    erased."""

    country: str
    lines: list[str]
    postal_code: str
    locality: str
    region: str
    as_spoken: str
    formatted: list[str]

    @classmethod
    def of(cls, address: Address) -> "AddressView":
        return cls(
            country=address.country,
            lines=list(address.lines),
            postal_code=address.postal_code,
            locality=address.locality,
            region=address.region,
            as_spoken=address.as_spoken,
            formatted=list(formatted(address)),
        )


class CountryName(BaseModel):
    country: str
    name: str


class Choice(BaseModel):
    """value: what is on the envelope. names: in each script that the country uses."""

    value: str
    names: list[str]


class CountryView(CountryName):
    """fields: those to show, line by line in their order; required: those that nothing arrives
    without. regions: to choose from; localities: to offer. Empty: free text. The types are what it
    calls them. postal_code_examples: none where there are no postal codes."""

    fields: list[list[str]]
    required: list[str]
    regions: list[Choice]
    localities: list[Choice]
    region_type: str
    locality_type: str
    postal_code_type: str
    postal_code_examples: list[str]


class Normalised(BaseModel):
    """rules: of the address's country, with the localities of its region."""

    address: AddressView
    rules: CountryView


def router() -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/addresses", tags=["addresses"])

    @api.post("/normalise", response_model=Normalised, operation_id="normaliseAddress")
    async def normalised(client_id: ClientOf, body: AddressBody) -> Normalised:
        """The address as its country writes it, and how that is. Nothing is kept."""
        address = normalise(body.domain())
        found = rules(address.country, address.region)
        return Normalised(address=AddressView.of(address), rules=_view(found))

    @api.get("/countries", response_model=list[CountryName], operation_id="listAddressCountries")
    async def known(client_id: ClientOf) -> list[CountryName]:
        """All countries, with their names in English."""
        return [CountryName(country=code, name=name) for code, name in countries().items()]

    @api.get("/countries/{country}", response_model=CountryView, operation_id="getAddressCountry")
    async def country_rules(
        client_id: ClientOf,
        country: Annotated[str, Path(pattern=COUNTRY, examples=["US"])],
        region: Annotated[Part, Query(examples=["CA"])] = "",
    ) -> CountryView:
        """What to ask for in a country. region: also the localities to choose from there, where
        the country has a list of them."""
        if country.upper() not in countries():
            raise NotFound("country")
        return _view(rules(country, region))

    return api


def _view(found: Rules) -> CountryView:
    return CountryView(
        country=found.country,
        name=found.name,
        fields=[list(line) for line in found.fields],
        required=list(found.required),
        regions=_choices(found.regions),
        localities=_choices(found.localities),
        region_type=found.region_type,
        locality_type=found.locality_type,
        postal_code_type=found.postal_code_type,
        postal_code_examples=list(found.postal_code_examples),
    )


def _choices(choices: Choices) -> list[Choice]:
    names: dict[str, list[str]] = {}
    for value, name in choices:
        names.setdefault(value, []).append(name)
    return [Choice(value=value, names=list(dict.fromkeys(named))) for value, named in names.items()]
