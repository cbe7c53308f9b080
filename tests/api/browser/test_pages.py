"""Every page in a real browser: whom it keeps out, and what its charts and buttons do."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from automl_api.client import Client
from automl_api.commands import texts
from tests.api.browser.conftest import KEY, Opened, serving, violations
from tests.api.conftest import DIGITS_CONFIG, DIGITS_WEIGHTS, job_body

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow]

PREFIX = "/x/y"  # of a proxy: no page may ask for anything above it
PATIENCE_MS = 120_000  # machines are shared: a job of seconds may take a minute
HOSTILE = "<b>no</b> \u202etxt & 'so on'"


@dataclass(frozen=True)
class Searched:
    """A service whose three jobs are done: two differ by their seed, the third cuts more.

    It stands below a prefix, which the address has.
    """

    url: str
    jobs: list[dict[str, Any]]

    @property
    def policies(self) -> list[str]:
        return [job["result"]["policy_id"] for job in self.jobs]

    @property
    def paths(self) -> list[str]:
        """Every page, where it is empty and where it is not."""
        job, first, second = self.jobs[0], *self.policies[:2]
        compared = "&".join(f"job={each['id']}" for each in self.jobs)
        return [
            "/",
            "/?text=nothing+is+called+like+this",
            "/new",
            "/models",
            f"/models/{job['model_id']}",
            "/datasets",
            f"/datasets/{job['dataset_id']}",
            "/system",
            "/compare",
            f"/compare?{compared}",
            f"/jobs/{job['id']}",
            f"/policies/{first}",
            f"/policies/{first}/diff?other={second}",
            f"/v1/jobs/{job['id']}/report.html",
        ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    data_dir: Path = tmp_path_factory.mktemp("searched")
    with serving(data_dir, prefix=PREFIX) as url, Client(url, KEY) as client:
        model = client.create_model("resnet-20", config=DIGITS_CONFIG, weights=DIGITS_WEIGHTS)
        dataset = client.create_dataset({"kind": "builtin", "name": "digits"}, name="digits")
        untuned = {"top_k": 1, "finetune_epochs": 0}
        jobs: list[dict[str, Any]] = []
        for name, searcher, seed, ratios, formats in (
            (HOSTILE, "sensitivity", 0, [0.3, 0.2], ["onnx"]),
            ("random one", "random", 0, [0.5], []),
            ("random two", "random", 1, [0.5], []),
        ):
            study: dict[str, Any] = {
                "searcher": searcher,
                "seed": seed,
                "budget": {"metric": "macs", "ratio": ratios[0]},
                "smaller_ratios": ratios[1:],
                "effort": {"evaluations": 8},
                "confirmation": {**untuned, "formats": formats},
            }
            body = job_body(model, dataset, **study)
            jobs.append(client.submit(body | {"name": name}).content)
        done = [client.job(each["id"]).wait().content for each in jobs]
        assert [each["status"] for each in done] == ["succeeded"] * 3
        yield Searched(url, done)


@pytest.fixture
def page(chromium: Browser, searched: Searched) -> Iterator[Page]:
    """A page that is signed in, and that nothing may go wrong on."""
    context = chromium.new_context(base_url=searched.url, reduced_motion="reduce")
    opened = Opened(context.new_page(), searched.url)
    sign_in(opened.page)
    yield opened.page
    opened.check()
    context.close()


def sign_in(page: Page) -> None:
    page.goto(f"{PREFIX}/sign-in")
    page.get_by_label("Key for this service").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def settle(page: Page) -> None:
    """Wait until the charts are drawn, and the images are there."""
    for chart in page.locator(".plot").all():
        expect(chart.locator("svg")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#reading")).to_have_count(0, timeout=PATIENCE_MS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_keeps_anyone_out(
    chromium: Browser, searched: Searched, theme: Literal["light", "dark"]
) -> None:
    # axe is brought in as a text, which the pages' own content policy rightly refuses.
    context = chromium.new_context(
        base_url=searched.url, reduced_motion="reduce", color_scheme=theme, bypass_csp=True
    )
    page = context.new_page()
    found: dict[str, list[str]] = {}
    page.goto(f"{PREFIX}/sign-in?next=/new")
    found["/sign-in"] = violations(page)
    sign_in(page)
    for path in [*searched.paths, "/jobs/job_0"]:
        page.goto(PREFIX + path)
        if "job_0" not in path:
            settle(page)
        found[path] = violations(page)
    context.close()

    assert {path: each for path, each in found.items() if each} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_interface_is_shown_and_tried_out_offline(
    chromium: Browser, searched: Searched, theme: Literal["light", "dark"]
) -> None:
    context = chromium.new_context(base_url=searched.url, color_scheme=theme)
    opened = Opened(context.new_page(), searched.url)
    page = opened.page
    sign_in(page)
    page.get_by_role("link", name="Interface").click()
    me = page.locator(".opblock", has=page.get_by_text("/v1/me", exact=True))
    me.locator(".opblock-summary-control").click(timeout=PATIENCE_MS)
    me.get_by_role("button", name="Try it out").click()
    me.get_by_role("button", name="Execute").click()
    expect(me.locator(".live-responses-table")).to_contain_text('"scope": "admin"')
    expect(me.locator(".request-url")).to_contain_text(f"{searched.url}/v1/me")
    opened.check()
    context.close()


# What Swagger UI does itself: links within buttons, and a main part of a page within ours.
OF_SWAGGER_UI = ("nested-interactive", "landmark-")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_interface_keeps_nobody_out(
    chromium: Browser, searched: Searched, theme: Literal["light", "dark"]
) -> None:
    context = chromium.new_context(base_url=searched.url, color_scheme=theme, bypass_csp=True)
    page = context.new_page()
    sign_in(page)
    page.goto(f"{PREFIX}/docs")
    expect(page.locator(".opblock").last).to_be_visible(timeout=PATIENCE_MS)
    found = violations(page)
    context.close()

    assert [each for each in found if not each.startswith(OF_SWAGGER_UI)] == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_every_page_draws_itself_without_a_complaint(
    page: Page, searched: Searched, theme: Literal["light", "dark"], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.emulate_media(color_scheme=theme)
    for path in searched.paths:
        page.goto(PREFIX + path)
        settle(page)
        for chart in page.locator(".plot").all():
            twin = page.locator(f"table#{chart.get_attribute('aria-details')} tbody tr")
            expect(twin.first, path).to_be_attached()
        for part in page.locator("body > *, main > *").all():
            box = part.bounding_box()
            assert box is None or box["x"] + box["width"] <= width or box["x"] < 0, path


SENDING = "form:not([action]) button:not([type=button]):visible, button[form=search]"


def test_a_button_pressed_before_the_script_is_there_leads_nowhere(
    chromium: Browser, searched: Searched
) -> None:
    context = chromium.new_context(base_url=searched.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page)
    job = searched.jobs[1]
    pressed = 0
    for path in (
        "/new",
        f"/jobs/{job['id']}",
        f"/policies/{searched.policies[0]}",
        f"/models/{job['model_id']}",
    ):
        page.goto(PREFIX + path)
        expect(page.locator("noscript .banner")).to_be_visible()
        for button in page.locator(SENDING).all():
            expect(button).to_have_css("pointer-events", "none")
            button.press("Enter")
            pressed += 1
            expect(page).to_have_url(searched.url + path)
    context.close()

    assert pressed >= 3


def test_jobs_are_chosen_in_the_list_and_compared(page: Page, searched: Searched) -> None:
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    for name in ("random one", "random two"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    expect(page.locator("#selected")).to_have_text("2 chosen")
    compare.click()

    expect(page.get_by_role("heading", level=1)).to_have_text("2 jobs compared")
    expect(page.locator("#seeds-table")).to_contain_text("0, 1")
    expect(page.locator("#points svg[role=img]")).to_be_visible()
    check_the_points(page, searched)
    kept = page.locator("#points-table tbody tr").first.get_attribute("data-share")
    page.get_by_label("parameters").check()
    expect(page.locator("#points-table thead")).to_contain_text("Parameters")
    expect(page.locator("#points-table tbody tr").first).not_to_have_attribute(
        "data-share", kept or ""
    )
    expect(page.locator("#points svg")).to_contain_text("parameters kept")
    assert "metric=parameters" in page.url

    page.get_by_role("link", name=re.compile("^random two, trial")).click()
    expect(page.locator("#diff svg[role=img]")).to_be_visible()
    expect(page.locator("#diff-table tbody tr")).to_have_count(12)


def check_the_points(page: Page, searched: Searched) -> None:
    """What the table says of confirmed policies is what the jobs say."""
    told = [
        float(row.get_attribute("data-accuracy") or "")
        for row in page.locator("#points-table tr[data-confirmed]").all()
    ]
    results = [job["result"]["policies"][0]["test"]["accuracy"] for job in searched.jobs[1:]]
    assert sorted(told) == sorted(results)


def test_a_job_of_two_budgets_shows_a_policy_for_each(page: Page, searched: Searched) -> None:
    page.goto(f"{PREFIX}/jobs/{searched.jobs[0]['id']}")
    settle(page)

    expect(page.locator("#results tbody tr")).to_have_count(3)
    expect(page.locator("#results h3")).to_have_text(
        [re.compile("^Trial"), re.compile("^Trial"), "The whole job"]
    )
    expect(page.locator("#progress svg")).to_contain_text("within 20.0%")
    page.get_by_label("hypervolume").check()
    page.get_by_text("The latest steps as a table").click()
    expect(page.locator("#progress-table tbody th").first).to_have_text("all trials")


def test_a_search_leaves_groups_alone_and_is_estimated(page: Page) -> None:
    page.goto(f"{PREFIX}/new")
    expect(page.locator("#ratio-text")).to_contain_text("50 %: 1,258,304 of 2,516,608 MACs")
    page.get_by_text("Leave groups whole").click()
    page.get_by_label("What happens to conv1").select_option("left whole")
    page.get_by_label("What happens to layer1.0.conv1").select_option("cut by")
    page.get_by_label("Percent of layer1.0.conv1 that is cut").fill("50")
    page.get_by_text("Several budgets, least cost, fewer bits").click()
    page.get_by_label("Bits that weights may get").fill("4, 8")
    page.get_by_role("checkbox", name="linear").check()

    for told in ("--skip conv1", "--skip linear", "--fix layer1.0.conv1=50%", "--weight-bits 4,8"):
        expect(page.locator("#as-shell")).to_contain_text(told)
    study = json.loads(page.locator("#as-json").text_content() or "")["study"]
    assert study["space"]["skip"] == ["conv1", "linear"]
    assert study["space"]["fix"] == {"layer1.0.conv1": 0.5}
    estimate = page.locator("#estimate")
    expect(estimate).to_contain_text("Within reach: at most 1,258,304 MACs")
    expect(estimate).to_contain_text("by 3 jobs on this network and these data")
    expect(estimate).to_contain_text("confirmed on test images")
    page.get_by_label("The compressed network keeps").press("Home")
    expect(estimate).to_contain_text("Out of reach")


def test_options_and_seed_of_a_searcher_are_told_in_every_language(page: Page) -> None:
    page.goto(f"{PREFIX}/new")
    expect(page.locator("#options-of")).to_have_text("auto")
    page.get_by_role("combobox", name="Searcher").select_option("amc")
    page.get_by_text("Options of amc").click()
    page.get_by_label("tau", exact=True).fill("0.5")
    page.get_by_role("combobox", name="mode", exact=True).select_option("faithful")
    page.get_by_label("hidden", exact=True).fill("64, 32")
    page.get_by_role("spinbutton", name="Seed").fill("7")

    wanted = {"mode": "faithful", "tau": 0.5, "hidden": [64, 32]}
    assert study_of_the_form(page)["searcher_options"] == wanted
    assert study_of_the_form(page)["seed"] == 7
    words = shlex.split((page.locator("#as-shell").text_content() or "").replace("\\\n", ""))
    given = [words[place + 1] for place, word in enumerate(words) if word == "--option"]
    assert texts.assignments(given, "--option") == wanted
    assert words[words.index("--seed") + 1] == "7"
    code = page.locator("#as-python").text_content() or ""
    compile(code, "the form", "exec")
    assert '"mode": "faithful"' in code
    expect(page.locator("#estimate")).to_contain_text("Within reach")

    page.get_by_label("batch size", exact=True).fill("1.5")
    expect(page.locator("#estimate")).to_contain_text("not filled in")


def study_of_the_form(page: Page) -> dict[str, Any]:
    return json.loads(page.locator("#as-json").text_content() or "")["study"]


def test_several_searchers_share_a_search_and_its_copy(page: Page) -> None:
    page.goto(f"{PREFIX}/new")
    page.get_by_role("combobox", name="Searcher").select_option("portfolio")
    members = page.get_by_role("group", name="Which share the evaluations")
    for name in ("auto", "tpe", "amc"):
        members.get_by_role("checkbox", name=name, exact=True).uncheck()
    expect(page.locator("#estimate")).to_contain_text("at least one searcher")
    for name in ("random", "uniform"):
        members.get_by_role("checkbox", name=name, exact=True).check()
    expect(page.locator("#as-shell")).to_contain_text("""--option 'members=["uniform","random"]'""")
    page.get_by_label("Evaluations", exact=True).fill("4")
    page.get_by_label("Epochs").fill("0")
    page.get_by_label("Name (for you)").fill("two of them")
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.get_by_role("heading", level=1)).to_have_text("two of them", timeout=PATIENCE_MS)
    expect(page.locator("#job[data-status=succeeded]")).to_be_attached(timeout=PATIENCE_MS)
    expect(page.locator("#searchers li")).to_have_text(
        [re.compile(r"uniform \(\d\)"), re.compile(r"random \(\d\)")]
    )
    page.get_by_role("link", name="Clone").click()
    expect(page.locator("#as-shell")).to_contain_text("jobs clone")
    assert study_of_the_form(page)["searcher_options"] == {"members": ["uniform", "random"]}
    page.get_by_role("combobox", name="Searcher").select_option("random")
    expect(page.locator("#as-shell")).not_to_contain_text("members")
    assert study_of_the_form(page)["searcher_options"] == {}


def test_a_job_takes_no_more_of_the_disk_than_was_estimated(searched: Searched) -> None:
    job = searched.jobs[0]  # of two budgets, with ONNX
    wanted = {name: job[name] for name in ("model_id", "dataset_id", "study")}
    with Client(searched.url, KEY) as client:
        estimated = client.estimate(wanted)["disk_bytes"]
        taken = sum(each["size_bytes"] for each in client.job(job["id"]).artifacts())

    assert taken <= estimated < 20 * taken  # what is left of the network is not known before


def test_a_search_for_the_least_cost_is_asked_for_in_the_form(page: Page) -> None:
    page.goto(f"{PREFIX}/new")
    page.get_by_role("combobox", name="Searcher").select_option("amc")
    page.locator("#budget-more summary").click()
    page.get_by_label("Or the least cost at an accuracy of").fill("97.5")

    expect(page.locator("#as-shell")).to_contain_text("--accuracy-floor 97.5%")
    expect(page.locator("#estimate")).to_contain_text("Within reach")
    assert study_of_the_form(page)["accuracy_floor"] == 0.975


def test_the_list_keeps_what_is_chosen_while_it_lives(page: Page) -> None:
    box = page.get_by_role("checkbox", name="Choose random one")
    box.check()
    for _ in range(2):
        with page.expect_response(lambda told: told.request.headers.get("x-part") == "live"):
            pass

    expect(box).to_be_checked()


def test_the_picture_of_a_network_is_its_table(page: Page, searched: Searched) -> None:
    page.goto(f"{PREFIX}/models/{searched.jobs[0]['model_id']}")
    settle(page)
    page.get_by_text("The groups as a table").click()

    groups = page.locator("#groups-table tbody tr")
    ties = page.locator("#groups-table li").count()
    dots = page.locator("#groups svg circle").count()
    assert dots == ties > groups.count() == 12
    page.get_by_role("link", name="Compress it").click()
    expect(page.locator("select[name=model]")).to_have_value(searched.jobs[0]["model_id"])


def test_a_network_is_sent_through_the_stages_from_its_page(page: Page, searched: Searched) -> None:
    job = searched.jobs[0]
    page.goto(f"{PREFIX}/models/{job['model_id']}")
    form = page.locator("#stages")
    form.get_by_label("Data").select_option(job["dataset_id"])
    form.get_by_label("Epochs behind each stage").fill("1")
    form.get_by_role("button").click()

    page.wait_for_url("**/jobs/job_*")
    with Client(searched.url, KEY) as client:
        made = client.job(page.url.rpartition("/")[2])
        study = made.content["study"]
        made.cancel()
    assert (study["searcher"], study["budget"]["metric"]) == ("micronet", "micronet")
    confirmation = study["confirmation"]
    assert (confirmation["recipe"], confirmation["finetune_epochs"]) == ("micronet", 1)


def test_the_images_come_behind_the_page(page: Page, searched: Searched) -> None:
    page.goto(f"{PREFIX}/datasets/{searched.jobs[0]['dataset_id']}")

    images = page.locator(".gallery img")
    expect(images).to_have_count(40, timeout=PATIENCE_MS)
    expect(images.first).to_have_js_property("naturalWidth", 8)
    expect(images.first).to_have_attribute("alt", re.compile(r"^Training image \d+, class 0$"))


def test_a_keyboard_is_enough(page: Page) -> None:
    page.goto(f"{PREFIX}/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    box = page.get_by_role("checkbox", name="Choose random one")
    for _ in range(30):
        page.keyboard.press("Tab")
        if box.evaluate("element => element === document.activeElement"):
            break
    expect(box).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#selected")).to_have_text("1 chosen")


def test_a_longer_copy_begins_as_the_job_was(page: Page, searched: Searched) -> None:
    job = searched.jobs[0]
    page.goto(f"{PREFIX}/jobs/{job['id']}")
    page.get_by_role("link", name="Extend").click()

    expect(page.get_by_label("Evaluations", exact=True)).to_have_value("16")
    expect(page.locator("#as-shell")).to_contain_text(f"automl-compress jobs clone {job['id']}")
    expect(page.locator("#estimate")).to_contain_text("Within reach")
    told = json.loads(page.locator("#as-json").text_content() or "")
    assert (told["model_id"], told["dataset_id"]) == (job["model_id"], job["dataset_id"])
    effort = {**job["study"]["effort"], "evaluations": 16}
    assert told["study"] == {**job["study"], "effort": effort}
    expect(page.locator("#as-shell")).not_to_contain_text("--study")
    page.get_by_label("Epochs").fill("7")
    expect(page.locator("#as-shell")).to_contain_text(
        """--study '{"confirmation":{"finetune_epochs":7}}'"""
    )


def test_another_trial_is_confirmed_and_written_in_another_format(
    page: Page, searched: Searched
) -> None:
    job = searched.jobs[1]
    confirmed = job["result"]["policies"][0]["trial_number"]
    page.goto(f"{PREFIX}/jobs/{job['id']}?trial={(confirmed + 1) % 2}")
    page.get_by_role("button", name="Confirm it").click()

    found = page.get_by_role("link", name="policy and files")
    expect(found).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#confirm")).to_have_count(0)
    found.click()
    expect(page.get_by_label("Another format")).to_be_visible()
    page.get_by_label("Another format").select_option("pt2")
    page.get_by_role("button", name="Write it").click()
    expect(page.get_by_role("link", name="network.pt2")).to_be_visible(timeout=PATIENCE_MS)


def test_data_get_another_name(page: Page, searched: Searched) -> None:
    page.goto(f"{PREFIX}/datasets/{searched.jobs[0]['dataset_id']}")
    page.once("dialog", lambda dialog: dialog.accept(HOSTILE))
    page.get_by_role("button", name="Rename").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    settle(page)
