"""A provider's page, against the exchange itself."""

from playwright.sync_api import expect

from tests.browser.conftest import Reader

CLASS = "H100.SXM.80.EU"


def test_hours_are_declared_and_offered_by_one_button(reader: Reader) -> None:
    page = reader.open("provider", name="host-a")
    form = page.locator("#provider-form")
    form.get_by_label("Class").select_option(CLASS)
    form.get_by_label("GPUs in each hour").fill("2")
    form.get_by_label("Hours", exact=True).fill("3")
    form.get_by_label("Least per GPU-hour").fill("4.50")
    form.get_by_label("Least per GPU-hour").press("Enter")
    expect(page.locator("#provider-said")).to_have_text("3 of 3 hours are offered.")

    declared = page.locator("#provider-capacity tbody tr", has_text=CLASS)
    expect(declared).to_have_count(3)
    expect(declared.first).to_contain_text("declared20")
    asks = reader.sandbox.json("book", CLASS)
    assert len(asks) > 0


def test_machines_and_how_much_of_them_is_let(reader: Reader) -> None:
    page = reader.open("provider", name="host-a")
    machine = page.locator("#provider-machines tbody tr", has_text="host-a")

    expect(machine).to_contain_text("heard")
    expect(machine).to_contain_text("of 4")
    expect(page.locator("#provider-use")).to_contain_text("of 4 GPUs are let")


def test_what_is_wrong_is_a_sentence(reader: Reader) -> None:
    """Of the page where it can tell, else of the exchange."""
    page = reader.open("provider", name="host-a")
    form, said = page.locator("#provider-form"), page.locator("#provider-said")
    form.get_by_label("Class").select_option(CLASS)
    form.get_by_label("Least per GPU-hour").fill("a lot")
    page.get_by_role("button", name="Declare and offer").click()
    expect(said).to_contain_text("The least you take per GPU-hour, in USD")

    form.get_by_label("Least per GPU-hour").fill("99")
    page.get_by_role("button", name="Declare and offer").click()
    expect(said).to_contain_text("Nothing is offered. Refused: The price is outside the collar")


def test_a_member_is_told_what_it_takes_to_be_a_provider(reader: Reader) -> None:
    page = reader.open("provider")

    expect(page.locator("#provider-not")).to_contain_text("an operator gives")
    expect(page.locator("#provider-form")).to_be_hidden()
