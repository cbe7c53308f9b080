"""A person's way from the start page to a downloaded policy, in a real browser."""

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.api.browser.conftest import KEY, Opened, Service
from tests.api.conftest import DIGITS_WEIGHTS
from tests.api.strangers import GreyStrips, TwoOutputs
from tests.automl_compress.data.image_archives import archive, class_files
from tests.automl_compress.networks.program_file.networks import program_of

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow]

EVALUATIONS = 12
PATIENCE_MS = 120_000  # machines are shared: a job of seconds may take a minute


def sign_in(page: Page) -> None:
    page.goto("/new")
    page.get_by_label("Key for this service").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#as-json")).not_to_be_empty()  # the form is ready


def fill_in(page: Page, *, searcher: str, evaluations: int, name: str) -> None:
    """Fill in the form for the network that is chosen, the example where none is registered."""
    page.get_by_role("combobox", name="Searcher").select_option(searcher)
    page.get_by_role("spinbutton", name="Evaluations").fill(str(evaluations))
    page.get_by_role("spinbutton", name="Epochs").fill("0")
    page.get_by_role("textbox", name="Name").fill(name)


def api(page: Page, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    origin = re.match(r"https?://[^/]+", page.url)
    assert origin is not None
    return httpx.get(f"{origin[0]}{path}", headers=headers, trust_env=False)


def test_from_the_start_page_to_a_downloaded_policy(opened: Opened) -> None:
    page = opened.page
    sign_in(page)
    fill_in(page, searcher="random", evaluations=EVALUATIONS, name="digits <b>at half</b>")
    expect(page.locator("#summary")).to_contain_text("baseline at equal effort")
    expect(page.locator("#as-shell")).to_contain_text("--max-macs 50%")
    expect(page.locator("#as-shell")).to_contain_text("--weights resnet-20-digits.safetensors")

    # Its groups and costs can be known before the search is started.
    page.get_by_role("button", name="Read it now").click()
    expect(page.locator("#ratio-text")).to_contain_text("2,516,608 MACs", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Start", exact=True).click()

    # The trials arrive without the page being loaded again.
    expect(page.locator("h1")).to_have_text("digits <b>at half</b>", timeout=PATIENCE_MS)
    address = page.url
    expect(page.locator("#job[data-status=succeeded]")).to_be_attached(timeout=PATIENCE_MS)
    expect(page.locator("#trials tbody tr")).to_have_count(EVALUATIONS)
    assert page.url == address
    expect(page.locator("#front svg[role=img]")).to_be_visible()
    expect(page.locator("#heat svg[role=img] rect").first).to_be_visible()
    check_the_twins(page)
    opened.check()

    # A point of the front is chosen by its row, the budget by its slider.
    page.get_by_text("The front as a table").click()
    page.locator("#front-table a").last.click()
    number = page.locator("#front-table a").last.text_content()
    expect(page.locator("#chosen-title")).to_have_text(f"Policy of trial {number}")
    page.get_by_label("What if the budget were").press("Home")
    expect(page.locator("#what-if")).to_contain_text("Nothing that was measured fits")
    page.get_by_label("parameters").check()
    expect(page.locator("#limit-text")).to_contain_text("parameters")

    with page.expect_download() as download:
        page.get_by_role("link", name="policy.json").click()
    job = api(page, f"/v1{address.removeprefix(opened.url)}").json()
    stored = api(page, f"/v1/policies/{job['result']['policy_id']}").json()
    assert json.loads(download.value.path().read_text()) == stored

    page.get_by_role("link", name="best: trial").click()
    expect(page.locator("#snippet")).to_contain_text('"policy.json", "network.safetensors")')
    expect(page.locator("#waterfall svg[role=img] rect").first).to_be_visible()
    opened.check()


def check_the_twins(page: Page) -> None:
    """What the tables say is what the service says."""
    job_id = page.url.rsplit("/", 1)[1]
    trials = {
        each["number"]: each for each in api(page, f"/v1/jobs/{job_id}/trials").json()["data"]
    }
    for row in page.locator("#front-table tbody tr").all():
        number, kind, searcher, cost, _, quality = row.locator("th, td").all_text_contents()
        assert searcher == "random"
        if kind == "searched":
            measured = trials[int(number)]["measurement"]
            assert int(cost.replace(",", "")) == measured["cost"]["macs"]
            assert float(quality) == pytest.approx(measured["score"], abs=5e-5)
    kinds = page.locator("#front-table tbody td:nth-child(2)").all_text_contents()
    assert {"confirmed", "searched"} == set(kinds)
    best = max(trials.values(), key=lambda each: each["score"])
    assert page.locator("#heat-table tbody tr").first.get_attribute("data-score") == str(
        best["score"]
    )
    groups = page.locator("#bars-table tbody tr").count()
    assert groups == len(best["policy"]["groups"])


def test_a_running_job_outlives_its_service_and_is_cancelled_from_the_list(
    opened: Opened, service: Service
) -> None:
    page = opened.page
    sign_in(page)
    fill_in(page, searcher="random", evaluations=100_000, name="endless")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("h1")).to_have_text("endless", timeout=PATIENCE_MS)
    expect(page.locator("#front svg")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("p.doing")).to_contain_text(re.compile(r"Now: .*trial \d+, a candidate"))
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator(".state.running > span")).to_have_css("animation-name", "none")
    opened.check()

    check_the_page_outlives_the_service(page, service)
    assert opened.elsewhere == []
    opened.console.clear()  # the browser itself notes that nobody answered

    page.get_by_role("link", name="Jobs", exact=True).click()
    row = page.locator("tr", has_text="endless")
    expect(row).to_contain_text("running")
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Cancel endless").click()
    expect(row).to_contain_text("cancelled", timeout=PATIENCE_MS)
    expect(row.get_by_role("button")).to_have_count(0)
    opened.check()


def check_the_page_outlives_the_service(page: Page, service: Service) -> None:
    service.stop()
    expect(page.locator("#trouble")).to_contain_text("does not answer", timeout=PATIENCE_MS)
    latest = page.locator("#trials tbody th").first
    shown = latest.text_content() or ""

    service.start_again()

    expect(page.locator("#trouble")).to_be_hidden(timeout=PATIENCE_MS)
    expect(latest).not_to_have_text(shown, timeout=PATIENCE_MS)
    assert int(latest.text_content() or "") > int(shown)


def test_what_the_service_refuses_is_told_beside_the_button(opened: Opened) -> None:
    page = opened.page
    sign_in(page)
    page.get_by_role("spinbutton", name="Evaluations").fill("0")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Evaluations")

    opened.check()

    page.get_by_role("spinbutton", name="Evaluations").fill("5")
    page.get_by_role("combobox", name="Searcher").select_option("amc")
    page.get_by_text("Options of amc").click()
    page.get_by_label("batch size", exact=True).fill("2000000")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#refusal")).to_contain_text(
        "option batch_size of searcher 'amc' is 2,000,000; give 1,000,000 at most",
        timeout=PATIENCE_MS,
    )
    page.get_by_role("combobox", name="Searcher").select_option("random")

    page.get_by_role("combobox", name="Which").first.select_option("A new one …")
    page.get_by_role("combobox", name="Architecture").select_option("lenet-5")
    page.get_by_label("image size").fill("32")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1x32x32", timeout=PATIENCE_MS)

    page.get_by_role("combobox", name="Which").first.select_option("A new one …")
    page.get_by_label("Trained weights").set_input_files(DIGITS_WEIGHTS)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("weights", timeout=PATIENCE_MS)
    assert opened.elsewhere == []
    # The browser itself notes the refusal, and nothing else is noted.
    assert all("422" in text for text in opened.console), opened.console


def test_a_network_and_images_of_ones_own_are_uploaded_in_the_form(
    opened: Opened, tmp_path: Path
) -> None:
    page, classes = opened.page, ("a", "b", "c", "d")
    (tmp_path / "strips.pt2").write_bytes(program_of(GreyStrips().eval(), GreyStrips.input_shape))
    images = class_files(*classes, count=10, shape=GreyStrips.input_shape[1:])
    (tmp_path / "grey images.zip").write_bytes(archive(images))
    sign_in(page)
    fill_in(page, searcher="random", evaluations=2, name="strips")
    network, data = page.get_by_role("combobox", name="Which").all()

    network.select_option("A new one …")
    page.get_by_label("A program of your own").set_input_files(tmp_path / "strips.pt2")
    expect(page.get_by_role("combobox", name="Architecture")).to_be_hidden()
    data.select_option("A file of mine …")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Images with labels")
    page.get_by_label("Images with labels").set_input_files(tmp_path / "grey images.zip")
    expect(page.locator("#as-shell")).to_contain_text("search strips.pt2")
    expect(page.locator("#as-shell")).to_contain_text("'grey images.zip'")
    expect(page.locator("#as-python")).to_contain_text('create_dataset("grey images.zip")')
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.locator("h1")).to_have_text("strips", timeout=PATIENCE_MS)
    job = api(page, f"/v1{page.url.removeprefix(opened.url)}").json()
    model = api(page, f"/v1/models/{job['model_id']}").json()
    dataset = api(page, f"/v1/datasets/{job['dataset_id']}").json()
    assert (model["name"], model["input_shape"]) == ("strips", [1, 8, 18])
    assert (dataset["name"], dataset["input_shape"]) == ("grey images", [1, 8, 18])
    opened.check()


def test_it_is_asked_which_of_several_outputs_accuracy_is_measured_on(
    opened: Opened, tmp_path: Path
) -> None:
    page, shape = opened.page, TwoOutputs.input_shape
    (tmp_path / "two.pt2").write_bytes(program_of(TwoOutputs().eval(), shape))
    images = class_files("a", "b", "c", "d", count=10, shape=(*shape[1:], shape[0]))
    (tmp_path / "colours.zip").write_bytes(archive(images))
    sign_in(page)
    fill_in(page, searcher="random", evaluations=2, name="two heads")
    network, data = page.get_by_role("combobox", name="Which").all()
    scored = page.get_by_role("combobox", name="Accuracy is that of")
    expect(scored).to_be_hidden()

    network.select_option("A new one …")
    page.get_by_label("A program of your own").set_input_files(tmp_path / "two.pt2")
    data.select_option("A file of mine …")
    page.get_by_label("Images with labels").set_input_files(tmp_path / "colours.zip")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("several outputs", timeout=PATIENCE_MS)
    expect(scored.locator("option")).to_have_text(["output 0: 4", "output 1: 5"])
    expect(scored).to_have_value("0")
    chosen = network.locator("option:checked")
    for output, name in (("1", "two, output 1"), ("0", "two"), ("1", "two, output 1")):
        scored.select_option(output)
        expect(chosen).to_have_text(name, timeout=PATIENCE_MS)
        expect(scored).to_have_value(output)
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.locator("h1")).to_have_text("two heads", timeout=PATIENCE_MS)
    job = api(page, f"/v1{page.url.removeprefix(opened.url)}").json()
    model = api(page, f"/v1/models/{job['model_id']}").json()
    assert (model["output"], model["num_classes"]) == (1, 5)
    models = api(page, "/v1/models").json()["data"]
    assert [each["name"] for each in models if each["name"].startswith("two")] == [
        "two, output 1",
        "two",
    ]
    opened.check()


def test_a_page_of_a_phone_does_not_scroll_sideways(opened: Opened) -> None:
    page = opened.page
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    sign_in(page)
    jobs = api(page, "/v1/jobs").json()["data"]
    model = f"/models/{jobs[0]['model_id']}"
    for path in ["/", "/new", model, *(f"/jobs/{each['id']}" for each in jobs[:2])]:
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        # By locators: the content policy lets nothing be evaluated from a text in the page.
        for part in page.locator("body > *, main > *, main .row > *, main .row label > *").all():
            box = part.bounding_box()
            assert box is None or box["x"] + box["width"] <= 360 or box["x"] < 0, path
    opened.check()
