"""Invented secrets, a line each, in three templates. Nothing here is anyone's:

- card numbers fail the Luhn checksum that every real one passes,
- e-mail addresses end in `.example`, which RFC 2606 keeps free,
- names, streets and towns are drawn from the short lists below, numbers from a seeded generator.

All lines are of about one length, so that any of them can be held against any other.
"""

import random
from collections.abc import Iterator

SHORTEST, LONGEST = 41, 48
TEMPLATES = ("card", "address", "e-mail")

# Words, split where they are drawn.
FIRST = """Ada Alma Anton Bela Bruno Cora Dario Della Edda Egon Elsa Emil Enid Ezra Fergus Flora Gilda Hanno Hedda Hugo
Ida Igor Ines Iris Ivo Jarvis Joan Jonas Karla Kurt Lena Lorna Lotta Ludo Mabel Magda Marta Milo Mina Nadia Nils Nora
Olga Oscar Otto Petra Piers Quinn Ralf Rhoda Rosa Rufus Selma Silas Sven Tessa Tilda Ugo Vera Viola Wanda Xenia Yves
Zelda"""
LAST = """Abram Alder Ashby Barlow Beck Birch Brand Burke Calder Corwin Crane Dalby Drake Easton Elgin Farley Fenn
Finch Garner Gorse Hale Harker Hobbs Irving Jessup Keane Kirby Lamb Larkin Lowell Marlow Moss Nash Norden Oakes Orton
Paley Pike Pryor Quill Ramsey Reed Rowan Sharpe Stroud Tait Thorne Tully Upton Vance Voss Wade Weller Wren Yarrow
Zorn"""
ROADS = """Abbey Anchor Bishop Canal Castle Chapel Cherry Dock Ferry Forge Garden Harbor Kiln Linden Market Mason
Mill Orchard Parade Quarry Ropewalk Saddler Station Tanner Tower Water Willow Windmill"""
WAYS = "Alley Close Court Drive Lane Rise Road Street Walk"
TOWNS = """Abbotsea Brackwell Crossmere Dunhallow Elmstead Fallowby Greyford Hexwater Ironbury Kestrow Lowmarsh
Millhaven Northolme Oldcastle Pennyford Queensby Redhollow Stonewick Thornsea Underhill Westermoor"""
HOSTS = "basalt.example copper.example gannet.example juniper.example magpie.example saffron.example"


def secrets(seed: int = 0) -> Iterator[tuple[str, str]]:
    """(template, line) without end, the templates in turn, every line with a name of its own."""
    draw = random.Random(seed)
    names = [f"{first} {last}" for first in FIRST.split() for last in LAST.split()]
    draw.shuffle(names)
    for number, name in enumerate(names):
        template = TEMPLATES[number % len(TEMPLATES)]
        yield template, fitting(template, name, draw)
    raise ValueError(f"there are only {len(names):,} names")


def fitting(template: str, name: str, draw: random.Random) -> str:
    """A line of the template that is neither too short nor too long."""
    while True:
        line = name + " " + {"card": card, "address": address, "e-mail": email}[template](draw)
        if SHORTEST <= len(line) <= LONGEST:
            return line


def card(draw: random.Random) -> str:
    while passes_luhn(number := digits(draw, 16)):
        pass
    return f"card {' '.join(number[i : i + 4] for i in range(0, 16, 4))} pin {digits(draw, 3)}"


def address(draw: random.Random) -> str:
    road = f"{digits(draw, 4)} {draw.choice(ROADS.split())} {draw.choice(WAYS.split())}"
    return f"{road}, {digits(draw, 5)} {draw.choice(TOWNS.split())}"


def email(draw: random.Random) -> str:
    handle = "".join(draw.choices("abcdefghijkmnpqrstuvwxyz23456789", k=10))
    return f"e-mail {handle}@{draw.choice(HOSTS.split())}"


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("0123456789", k=count))


def passes_luhn(number: str) -> bool:
    """Whether the digits sum to a multiple of ten, every second from the right doubled and its digits added."""
    values = [int(c) for c in reversed(number) if c.isdigit()]
    return sum(values[::2] + [sum(divmod(2 * v, 10)) for v in values[1::2]]) % 10 == 0
