"""The demo's chapter on the recycling flow: a card from photo to receipt, a ring refused, a dispute, the books at zero.

The service runs beside, the sandbox of partners as a child, and the flow's worker in this process.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from features.china import CHINA
from serving.commands.demo_stage import Stage, staged
from serving.commands.sandbox_process import sandbox_process
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.simulation.card_images import CardPhoto
    from pipelines.workspace import Workspace
    from serving.api.submission_schemas import SubmissionView
    from serving.client import HuikaClient

SEED = 7
PATIENCE_SECONDS = 60.0
FILM = b"the film of a parcel that is opened"


def tell_recycling(workspace: Workspace, market: Any, client: HuikaClient) -> None:
    """Tell the chapter. Raises Refusal where the flow does not do what it must."""
    from pipelines.demo import regular_seller, ring_members

    with (
        sandbox_process(workspace.home) as (_, url),
        staged(workspace, client, url) as stage,
    ):
        honest = regular_seller(market)
        _tell_photo(stage, workspace, honest)
        _tell_ring(stage, workspace, ring_members(market, most=4))
        _tell_dispute(stage, workspace, honest)
        _tell_books(stage)


def _submit(
    stage: Stage,
    card: Mapping[str, Any],
    seller: Mapping[str, Any],
    *,
    number: str,
    secret: str,
    **known: Any,
) -> SubmissionView:
    """Submit a card that the sandbox's issuer knows, standing as ``known`` says."""
    from serving.api.submission_schemas import NewSubmission

    face = card["face_value"]["amount_fen"]
    told = {"number": number, "secret": secret, "face_value_fen": face, **known}
    httpx.post(f"{stage.sandbox}/sandbox/cards", json=told, trust_env=False).raise_for_status()
    body = {
        "card": {**card, "number": number, "secret": secret},
        "seller": dict(seller),
        "payee_ref": "payee-11",
    }
    return stage.seller.submit(NewSubmission.model_validate(body))


def _until(stage: Stage, submission_id: str, *states: str) -> SubmissionView:
    """Let the machine work until the trade is in one of the states; a held payout is not waited for: the clock goes on
    to its time, and back again, for the service's own did not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        stage.work()
        found = stage.seller.submission(submission_id)
        if found.state in states:
            stage.clock.ahead = timedelta(0)
            return found
        if time.monotonic() > deadline:
            raise Refusal(f"{submission_id} is {found.state} ({found.trouble}) and does not go on")
        if found.state == "verified" and found.due_at is not None:
            until = found.due_at.astimezone(CHINA)
            print(f"     held until 暂缓至 {until:%m-%d %H:%M}; the demo's clock goes on 时钟快进")
            stage.clock.ahead = found.due_at - datetime.now(UTC) + timedelta(seconds=1)
        time.sleep(0.2)


def _sell(stage: Stage, submission_id: str) -> SubmissionView:
    """Bring a trade to its accepted quote; a person lets pass what the machine would not."""
    from serving.api.submission_schemas import Decision

    found = _until(stage, submission_id, "quoted", "person_needed", "rejected")
    if found.state == "rejected":
        stage.opened.intake.ask_person(submission_id, by="demo")
    if found.state != "quoted":
        decision = Decision(decision="approve", reason="a seller of many good cards")
        found = stage.analysts[0].decide(submission_id, decision)
        print("     a person looked and approved 人工复核通过")
    payout = found.payout.amount_fen / 100
    print(f"     quoted 报价 ¥{payout:,.2f}, {found.decision.upper()}; accepted by the seller 卖家接受")
    return stage.seller.accept(submission_id, quote_id=found.quote_id)


def _tell_photo(stage: Stage, workspace: Workspace, seller: Mapping[str, Any]) -> None:
    """One card, from its photo to the receipt."""
    from pipelines.recycling.trade_receipts import trade_receipt
    from pipelines.simulation.card_images import KINDS, draw_card
    from serving.commands.demo import shown

    print("   一张卡：从照片到回执 One card, from photo to receipt")
    photo = draw_card(rng=random.Random(SEED), kind=replace(KINDS[0], faces_yuan=(500,)), rough=0.5)
    path = workspace.home / "card.jpg"
    path.write_bytes(photo.jpeg)
    card, number, secret = _confirmed(photo, shown(path))
    sold = _submit(stage, card, seller, number=number, secret=secret)
    _sell(stage, sold.submission_id)
    paid = _until(stage, sold.submission_id, "paid")
    print("     " + " → ".join(step.target for step in paid.steps))
    receipt = workspace.home / "receipt.pdf"
    receipt.write_bytes(trade_receipt(stage.opened, paid.submission_id))
    print(f"     paid 已打款 ¥{paid.payout.amount_fen / 100:,.2f}; receipt 电子回执 {shown(receipt)}")


def _confirmed(photo: CardPhoto, path: str) -> tuple[dict[str, Any], str, str]:
    """The card as the photo is read and its seller confirms it: with number and secret, which are shown nowhere."""
    from features.catalogue import load_catalogue
    from pipelines.recycling.confirming import SellerSays, confirm
    from pipelines.recycling.reading import CardReader
    from pipelines.recycling.secret import Secret
    from serving.commands.read_card import SHOWN_MARKS, masked

    catalogue, today = load_catalogue(), date.today()  # noqa: DTZ011 - the seller's own day
    proposal = CardReader().read(photo.jpeg, catalogue=catalogue, today=today)
    number = masked(proposal.number.value.open(), shown=SHOWN_MARKS)
    doubts = len(proposal.doubts())
    print(f"     {path} read 识别: {proposal.card_type} {number}, {doubts} fields in doubt 存疑")
    said = SellerSays(
        photo.card_type, Secret(photo.number), Secret(photo.secret), photo.face_value_fen, photo.expires_on
    )
    card = confirm(proposal, said=said, catalogue=catalogue)
    print(
        f"     confirmed by the seller 卖家逐项确认, corrected 更正: {', '.join(card.corrected) or 'none 无'}"
    )
    asked = {
        "card_type": card.said.card_type,
        "face_value": {"amount_fen": card.said.face_value_fen},
        "expires_on": photo.expires_on.isoformat(),
    }
    return asked, card.said.number.open(), card.said.secret.open()


def _tell_ring(stage: Stage, workspace: Workspace, members: list[dict[str, Any]]) -> None:
    """Linked sellers bring cards: what stopped each, and why."""
    from serving.client import HuikaProblem

    accounts = {one["payout_account"] for one in members if one.get("payout_account")}
    print(f"   团伙 A ring: {len(members)} sellers paid on {len(accounts)} account(s) 共用收款账户")
    card = {"card_type": "jd_ecard", "face_value": {"amount_fen": 100_000}}
    rng, half = random.Random(SEED + 1), (len(members) + 1) // 2
    number, secret = "", ""
    for place, seller in enumerate(members):
        if place == half:
            _block(workspace, accounts)
        number, secret = f"JDV{rng.randrange(10**17):017d}", f"DEMO{rng.randrange(10**12):012d}"
        known = {"standing": "used", "balance_fen": 0} if place < half else {}
        one = _submit(stage, card, seller, number=number, secret=secret, **known)
        found = _until(stage, one.submission_id, "rejected", "person_needed", "quoted")
        _print_stopped(stage, seller["seller_id"], found)
    if members:
        try:
            _submit(stage, card, members[0], number=number, secret=secret)
        except HuikaProblem as problem:
            print(f"     the last card again, by another 同一张卡换人再交: {problem.code}, not taken 未收")


def _block(workspace: Workspace, accounts: set[str]) -> None:
    """Put the accounts on the block list, and wait until the service has seen it."""
    from pipelines.application_data import ApplicationData
    from pipelines.screening.list_data import REFRESH, Entry, ListData

    lists = ListData.open(ApplicationData(workspace.application_url))
    why = "used cards of linked sellers"
    entries = [
        Entry(list="block", kind="payout_account", value=one, author="demo", why=why)
        for one in sorted(accounts)
    ]
    lists.write(entries, now=datetime.now(UTC))
    print("     an analyst puts the account on the block list 分析员将账户列入黑名单")
    time.sleep(REFRESH.total_seconds() + 0.5)


def _print_stopped(stage: Stage, seller_id: str, found: SubmissionView) -> None:
    """Where a card of the ring ended; what still waits for a person is turned away by one."""
    from serving.api.submission_schemas import Decision

    words = {
        "card_used": "the issuer says used 发卡方：已使用",
        "refused": "refused by the engine 引擎拒绝",
        "no_offer": "no offer 不报价",
        "review": "the engine asks for a person 引擎要求人工复核",
    }
    why = found.steps[-1].why
    print(f"     {seller_id} {found.state} {found.state_zh}: {words.get(why, why)}", end="")
    reasons = stage.seller.get_quote(found.quote_id).reasons if found.quote_id else []
    listed = [reason for reason in reasons if reason.code.startswith("LISTED")]
    told = listed or reasons[-1:]  # risks stand behind prices
    print("".join(f"; {reason.zh} {reason.en}" for reason in told))
    if found.state == "person_needed":
        decision = Decision(decision="reject", reason="accounts and devices of a known ring")
        done = stage.analysts[0].decide(found.submission_id, decision)
        print(f"       a person decided 人工决定: {done.state} {done.state_zh}")


def _tell_dispute(stage: Stage, workspace: Workspace, seller: Mapping[str, Any]) -> None:
    """A physical card is bought, its buyer complains, two people decide, and the evidence is verified offline."""
    from serving.api.dispute_schemas import ComplaintMade, Judgement
    from serving.api.submission_schemas import Decision
    from serving.client import HuikaProblem

    print("   争议 A dispute about a physical card of ¥2,000")
    card = {"card_type": "sinopec_fuel", "card_form": "physical", "face_value": {"amount_fen": 200_000}}
    one = _submit(stage, card, seller, number="DEMOFUEL00000011", secret="DEMOFUELKEY11").submission_id
    _sell(stage, one)
    _until(stage, one, "shipping")
    film = Decision(decision="unpacked", reason="unpacked", film_sha256=hashlib.sha256(FILM).hexdigest())
    stage.analysts[0].decide(one, film)
    _until(stage, one, "paid")
    print("     unpacked on film, paid 开箱录像存证，已打款")
    stage.seller.complain(one, ComplaintMade(kind="already_redeemed", reason="the buyer found it empty"))
    verdict = Judgement(verdict="against_trade", reason="the issuer confirms the time of redemption")
    stage.analysts[0].judge(one, verdict)
    try:
        stage.analysts[0].judge(one, verdict)
    except HuikaProblem as problem:
        print(f"     complaint 投诉; the first analyst alone 一人不能定案: {problem.code}")
    done = stage.analysts[1].judge(one, verdict)
    stage.work()
    told = stage.seller.submission(one)
    label = "the models were told 标签已回传" if not told.trouble else f"label waits: {told.trouble}"
    print(f"     the second analyst agreed 第二人同意: {done.state} {done.state_zh}; {label}")
    _tell_evidence(stage, workspace, one)


def _tell_evidence(stage: Stage, workspace: Workspace, submission_id: str) -> None:
    from pipelines.recycling.checkpoints import parse_verifier_key
    from pipelines.recycling.evidence_bundle import Trusted, verify_bundle
    from pipelines.recycling.evidence_export import bundle, write_bundle
    from serving.commands.demo import shown

    log, path = stage.opened.flow.book.evidence, workspace.home / "evidence.json"
    write_bundle(bundle(log, submission_id, now=stage.clock()), path)
    keys = tuple(parse_verifier_key(line) for line in log.verifier_keys())
    proven = verify_bundle(path.read_bytes(), Trusted(keys=keys))
    print(f"     evidence 存证 {shown(path)}: VALID 有效, {len(proven.leaves)} leaves; on any machine:")
    print(f"       huika evidence verify {shown(path)}")


def _tell_books(stage: Stage) -> None:
    """The ledger, worked out anew from its first transfer."""
    from pipelines.recycling.ledger_audit import audit

    with stage.opened.engine.connect() as connection:
        books = audit(connection)
    if not books.clean:
        raise Refusal(f"the books are wrong: {books.books_sum_fen} fen, {books.differences} {books.faults}")
    print(f"   账平 The books at zero: {books.accounts} accounts, {books.transfers} transfers, sum ¥0.00")
