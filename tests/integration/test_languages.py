# SPDX-License-Identifier: Apache-2.0
"""Listings in other languages, from the database to a match."""

from services.matcher import previewing
from services.matcher.keeping import Keeper
from tests.catalogues import Catalogue
from twinning.database import Database
from twinning.listings import Listing
from twinning.previews import PreviewRequest

GERMAN = (
    "Lesepaten",
    "Vorlesepaten besuchen Familien und die Kinderbücherei, und Eltern lernen das Vorlesen mit Büchern.",
)
ASKED = "Wie können Eltern ihren Kindern vorlesen, und wie helfen uns Büchereien und Paten dabei?"


def test_a_listing_is_matched_in_its_language(database: Database) -> None:
    """Its words are counted in the language that was detected; a preview in it finds it by its parts."""
    catalogue = Catalogue(database)
    practice = catalogue.practice(catalogue.city("Gelsenkirchen", "DE"), *GERMAN)
    catalogue.practice(catalogue.city("Cork", "IE"), "Reading", "Volunteers read with families.")
    keeper = Keeper()
    request = PreviewRequest.model_validate({"text": ASKED, "as": "need", "country": "KR"})

    with database.transaction() as session:
        answer = previewing.answer(keeper, session, request)
        language = session.get_one(Listing, practice).language

    counted = next(row.counts for row in keeper.counted if row.listing_id == practice)
    assert language == "de"
    assert counted["#vorl"] == 2
    assert [item.listing.id for item in answer.items] == [practice]
    shown = {term.term for term in answer.items[0].terms}
    assert {"vorlesen", "Büchereien"} <= shown
    assert not any(word.startswith("#") for word in shown)


def test_a_preview_suggests_themes(database: Database) -> None:
    """Themes come from the text alone, so an empty catalogue suggests the same."""
    text = "How can libraries bring adults with low literacy back to reading?"
    request = PreviewRequest.model_validate({"text": text, "as": "need", "country": "IE"})

    with database.transaction() as session:
        answer = previewing.answer(Keeper(), session, request)

    assert answer.items == []
    assert answer.suggested_themes[0].theme == "cl7"
    assert answer.suggested_themes[0].label == "Literacy"
