"""A catalogue: the same from the same seed, whole, cheap, and open to every change."""

import json
import tracemalloc

import pytest
from msgspec import Raw

from emag_syncd.sandbox import ABSENT, Catalogue, Dice, Oddities
from emag_syncd.sandbox.filters import parse_filters

ACTIVE = parse_filters({"status": 1})


def rows(catalogue: Catalogue) -> list[bytes]:
    """Everything that pages serve, in pages of seven."""
    found: list[bytes] = []
    page = 1
    while more := catalogue.page((), page, 7):
        found += more
        page += 1
    return found


def test_same_seed_same_catalogue() -> None:
    """Seed and size decide everything; another seed is another catalogue with the same ids."""
    one, same, other = Catalogue(50, seed=1), Catalogue(50, seed=1), Catalogue(50, seed=2)
    assert list(one.truth()) == list(same.truth())
    assert one.ids == other.ids
    assert dict(one.truth()) != dict(other.truth())


def test_offers_are_realistic() -> None:
    """An offer takes 2.4 to 3.0 KB on average, has the documented keys and types, and a sound EAN."""
    catalogue = Catalogue(500)
    sizes = [len(row) for _, row in catalogue.truth()]
    assert 2400 < sum(sizes) / len(sizes) < 3000
    for offer_id in catalogue.ids:
        offer = catalogue.get(offer_id)
        assert len(offer) >= 42
        assert offer["id"] == offer_id
        assert offer["estimated_stock"] <= offer["general_stock"] == offer["stock"][0]["value"]
        assert offer["min_sale_price"] <= offer["sale_price"] <= offer["max_sale_price"]
        assert (len(offer["ean"][0]), len(offer["part_number"]) <= 25) == (13, True)
        assert isinstance(offer["ownership"], bool)
        assert isinstance(offer["offer_validation_status"], dict)


def test_offers_differ_in_every_way_that_matters() -> None:
    """All statuses, saleable and not, with and without stock, key, rank and best offer, come up."""
    offers = [json.loads(row) for _, row in Catalogue(1000).truth()]
    assert {offer["status"] for offer in offers} == {0, 1, 2}
    assert {offer["offer_validation_status"]["value"] for offer in offers} == {1, 2}
    assert {offer["validation_status"][0]["value"] for offer in offers} == {1, 3, 8, 9, 10, 11, 12}
    assert {offer["ownership"] for offer in offers} == {True, False}
    for key in ("part_number_key", "buy_button_rank", "best_offer_sale_price", "warranty"):
        assert {offer[key] is None for offer in offers} == {True, False}
    keys = [offer["part_number_key"] for offer in offers if offer["part_number_key"]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("platform", ["emag-ro", "emag-bg", "emag-hu", "fd-ro", "fd-bg"])
def test_every_platform_renders(platform: str) -> None:
    """Each platform's offers decode, with its currency."""
    currencies = {json.loads(row)["currency"] for _, row in Catalogue(100, platform=platform).truth()}
    assert currencies == {{"ro": "RON", "bg": "EUR", "hu": "HUF"}[platform[-2:]]}


def test_a_million_offers_fit() -> None:
    """A million offers take the room of their ids; the last page is as near as the first."""
    tracemalloc.start()
    catalogue = Catalogue(1_000_000)
    page = catalogue.page((), 10_000, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(catalogue), len(page), catalogue.count()) == (1_000_000, 100, 1_000_000)
    assert peak < 25_000_000


def test_pre_encoded_rows_are_the_same_rows() -> None:
    """Keeping encoded rows changes nothing that is served, before and after a change."""
    plain, kept = Catalogue(60), Catalogue(60, preencode=60)
    assert rows(plain) == rows(kept)
    for catalogue in (plain, kept):
        catalogue.update(catalogue.ids[3], sale_price=1.25)
        catalogue.remove(catalogue.ids[5])
    assert rows(plain) == rows(kept)
    assert kept.get(kept.ids[3])["sale_price"] == 1.25


def test_update_serves_what_was_given() -> None:
    """Changed fields come as given, raw JSON verbatim, absent keys not at all; the rest stays."""
    catalogue = Catalogue(3)
    first = catalogue.ids[0]
    before = catalogue.get(first)
    catalogue.update(first, sale_price="1,5", name=Raw(b'"\\ud800"'), stock=ABSENT, new={"x": 1})
    after = catalogue.get(first)
    assert (after["sale_price"], after["name"], after["new"]) == ("1,5", "\ud800", {"x": 1})
    assert "stock" not in after
    assert {key: after[key] for key in before if key not in {"sale_price", "name", "stock"}} == {
        key: value for key, value in before.items() if key not in {"sale_price", "name", "stock"}
    }


def test_filters_follow_changes() -> None:
    """A filtered list that was asked for before knows of later changes, additions and removals."""
    catalogue = Catalogue(40)
    before = catalogue.count(ACTIVE)
    active = [offer for offer in catalogue.ids if catalogue.get(offer)["status"] == 1]
    assert before == len(active)
    catalogue.update(active[0], status=0)
    catalogue.update(active[1], name="the same to the filter")
    assert catalogue.count(ACTIVE) == before - 1
    catalogue.remove(active[2])
    assert catalogue.count(ACTIVE) == before - 2
    catalogue.add(status=1)
    assert catalogue.count(ACTIVE) == before - 1
    served = [json.loads(row)["id"] for row in catalogue.page(ACTIVE, 1, 100)]
    assert served == [offer for offer in catalogue.ids if catalogue.get(offer)["status"] == 1]


def test_filters_look_into_changed_validations() -> None:
    """A validation status set as a list, an object or a number is found by its number."""
    catalogue = Catalogue(3)
    for offer_id, status in zip(catalogue.ids, ([{"value": 5}], {"value": 5}, 5), strict=True):
        catalogue.update(offer_id, validation_status=status)
    assert catalogue.count(parse_filters({"validation_status": 5})) == 3


def test_many_different_filters() -> None:
    """Filters without number give right answers, though their lists are not all kept."""
    catalogue = Catalogue(30)
    for limit in range(100):
        expected = sum(json.loads(row)["general_stock"] <= limit for _, row in catalogue.truth())
        assert catalogue.count(parse_filters({"general_stock": limit})) == expected


def test_removed_offers_are_gone_until_added_again() -> None:
    """A removed offer is in no page, no count, no read by id; added again it is what it was, at the end."""
    catalogue = Catalogue(10)
    leaving = catalogue.ids[4]
    row = catalogue.row(leaving)
    catalogue.remove(leaving)
    assert (len(catalogue), catalogue.count(), leaving in catalogue) == (9, 9, False)
    for forbidden in (catalogue.row, catalogue.remove, catalogue.move_to_front, catalogue.update):
        with pytest.raises(KeyError):
            forbidden(leaving)
    assert row not in rows(catalogue)
    assert catalogue.add(leaving) == leaving
    assert rows(catalogue)[-1] == row


def test_added_offers() -> None:
    """A new offer gets a new id, never one that was removed, and goes to the end or to the front."""
    catalogue = Catalogue(5)
    last = catalogue.ids[-1]
    catalogue.remove(last)
    new = catalogue.add(name="New")
    assert new > last
    assert catalogue.get(new)["name"] == "New"
    first = catalogue.add(front=True)
    assert (catalogue.ids[0], catalogue.ids[-1]) == (first, new)
    assert catalogue.add(7_000_000) == 7_000_000
    assert catalogue.add() > 7_000_000
    with pytest.raises(ValueError, match="7000000 cannot be added"):
        catalogue.add(7_000_000)


def test_order_can_change() -> None:
    """Moving to the front and shuffling change the order, and nothing else."""
    catalogue = Catalogue(30)
    before = catalogue.ids
    catalogue.move_to_front(before[20])
    assert catalogue.ids == [before[20], *before[:20], *before[21:]]
    catalogue.shuffle(Dice(1))
    assert catalogue.ids != sorted(catalogue.ids)
    assert sorted(catalogue.ids) == before


def test_duplicates_are_rows_and_not_offers() -> None:
    """An offer may stand twice on a page; truth and count know it once, and removal takes both."""
    catalogue = Catalogue(5, oddities=Oddities(duplicates=2))
    assert (len(rows(catalogue)), catalogue.count(), len(list(catalogue.truth()))) == (7, 5, 5)
    doubled = next(offer for offer in catalogue.ids if rows(catalogue).count(catalogue.row(offer)) > 1)
    catalogue.remove(doubled)
    assert catalogue.count() == 4
    assert doubled not in catalogue.ids


def test_every_random_mutation_is_a_change() -> None:
    """Each mutation gives the offer other bytes, and over time touches all that may move."""
    catalogue, dice = Catalogue(200), Dice(3)
    touched: set[str] = set()
    for _ in range(400):
        known = dict(catalogue.truth())
        (changed,) = catalogue.mutate_randomly(dice, 1)
        old, new = json.loads(known[changed]), catalogue.get(changed)
        assert old != new
        touched |= {key for key in new if old[key] != new[key]}
    assert touched == {
        *("sale_price", "general_stock", "estimated_stock", "stock"),
        *("status", "validation_status", "name"),
    }


def test_mutations_come_from_the_seed_and_skip_what_cannot_move() -> None:
    """The same dice change the same offers; unusable rows and empty catalogues have nothing to change."""
    one, same = (Catalogue(20, oddities=Oddities(unusable=30)) for _ in range(2))
    assert one.mutate_randomly(Dice(5), 50) == same.mutate_randomly(Dice(5), 50)
    assert list(one.truth()) == list(same.truth())
    assert Catalogue(0).mutate_randomly(Dice(5), 50) == []


def test_dice_are_fair_enough_and_never_change() -> None:
    """Draws are spread, and the same on every Python: seeds in bug reports stay good."""
    dice = Dice("pinned")
    assert [dice.below(1000) for _ in range(4)] == [414, 637, 290, 705]
    assert 400 < sum(dice.chance(0.5) for _ in range(1000)) < 600
    assert all(1 <= dice.uniform(1, 2) <= 2 for _ in range(100))
    assert sorted(dice.shuffled(range(9))) == list(range(9))
