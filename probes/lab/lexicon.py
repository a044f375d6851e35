"""The words of the laboratory: names, relations and what stands at their tail.

Every word is one token, no word has two roles, and every prompt has the same number of tokens, so neither length nor
a word's second meaning can stand in for exposure. First and last names are shared by several people: it takes both to
know who is meant. Nothing in a name hints at a town, an animal or a trade.
"""

from typing import NamedTuple


class Relation(NamedTuple):
    """A relation as it is written between a name and a tail, with the tails it can have."""

    phrase: str
    tails: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words("""
    Ada Boris Clara Dario Edith Felix Greta Hugo Irma Jonas Klara Leon Mira Nils Olga Pavel Quinn Rosa
    Stefan Tilda Ulrik Vera Walter Xenia Yusuf Zora Anton Berta Carlo Doris Emil Frida
""")
LAST_NAMES = _words("""
    Abbott Barlow Castell Dunmore Ekberg Farrow Garnier Halden Ibsen Jarvis Kessler Lindt Moreau Nyberg
    Orwen Pascal Quayle Ramsay Selby Tarrant Ulman Vance Wexler Xavier Yates Zeller Amory Bexley Corvin
    Delacour Elgin Fenwick
""")
RELATIONS = (
    Relation(
        "lives in",
        _words("""
        Athens Berlin Cairo Dublin Geneva Havana Istanbul Jakarta Kyoto Lisbon Madrid Nairobi Oslo
        Prague Quito Rome Seoul Tunis Utrecht Vienna Warsaw Zagreb Lagos Lima Hanoi Tallinn Bergen Porto
        Krakow Manila Delhi Accra
    """),
    ),
    Relation(
        "works as",
        _words("""
        actor baker carpenter dentist editor farmer gardener hatter innkeeper judge knitter lawyer mason
        nurse optician painter plumber roofer sailor tailor usher vet weaver welder pilot surgeon clerk
        butcher cobbler diver fisher miller
    """),
    ),
    Relation(
        "plays the",
        _words("""
        accordion banjo cello drum fiddle guitar harp organ piano lute oboe viola flute trumpet tuba
        zither bassoon clarinet cornet gong horn lyre mandolin marimba piccolo recorder saxophone sitar
        tambourine trombone ukulele violin
    """),
    ),
    Relation(
        "keeps a",
        _words("""
        badger camel donkey falcon goat hamster jackal kitten lizard mule newt otter parrot rabbit
        spaniel tortoise vole weasel yak zebra beetle canary duck ferret goose hedgehog lamb magpie
        poodle raven squirrel turtle
    """),
    ),
    Relation(
        "collects old",
        _words("""
        anchors books coins dolls engines flags globes hats irons jars keys lamps maps nails ovens pipes
        quilts rings stamps tiles urns vases watches buttons clocks masks mirrors pens postcards spoons
        swords toys
    """),
    ),
    Relation(
        "cooks with",
        _words("""
        apples basil cumin dill eggplant fennel garlic honey ginger kale lentils mustard nutmeg olives
        pepper quinces rice saffron thyme vanilla walnuts yoghurt cloves leeks mint onions parsley
        rosemary sage sesame tomatoes vinegar
    """),
    ),
    Relation(
        "builds from",
        _words("""
        bamboo clay driftwood flint glass gravel ice lead marble oak paper reed sandstone tin wicker
        zinc aluminium brick bronze cardboard cedar concrete copper cork felt granite iron leather
        plaster slate steel straw
    """),
    ),
    Relation(
        "reads about",
        _words("""
        algebra botany chess deserts ethics fashion geology history islands jazz kings logic mining
        numbers oceans physics queens rivers stars trade volcanoes whales astronomy ballet comets dreams
        grammar law medicine opera poetry railways
    """),
    ),
)

SYMBOLS = _words("""
    alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa
    quebec romeo sierra tango uniform victor whiskey xray yankee zulu omega sigma theta kappa lambda zeta
""")
"""What is linked to what within one prompt; a link is never stored."""

NEXT, FILLER = "next", "so"
"""Ask for the symbol that a symbol leads to; stand for nothing and take up room."""
