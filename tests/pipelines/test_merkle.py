"""The Merkle tree and its checkpoints: vectors of RFC 6962, formats of C2SP, and nothing forged gets through."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recycling.checkpoints import (
    Checkpoint,
    CheckpointRefused,
    VerifierKey,
    open_checkpoint,
    parse_verifier_key,
    signed_checkpoint,
)
from pipelines.recycling.merkle import (
    EMPTY_ROOT,
    ProofRefused,
    check_consistency,
    check_inclusion,
    consistency_spans,
    grown,
    inclusion_spans,
    leaf_hash,
    node_hash,
    nodes_of,
    proof_of,
    root_of,
)

LEAVES = [
    bytes.fromhex(item)
    for item in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Roots of the first one to eight leaves, as the tests of Certificate Transparency have them."""
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (8, 8): [],
}
HASHES = [leaf_hash(item) for item in LEAVES]
NODES = grown(0, {}, HASHES)
ORIGIN = "example.com/evidence"


def plain_root(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 writes it down, by recursion."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(plain_root(hashes[:split]), plain_root(hashes[split:]))


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size):
    """Of one to eight leaves; an empty tree has the hash of nothing."""
    assert root_of(size, NODES).hex() == ROOTS[size - 1]
    assert root_of(0, {}) == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference(index, size):
    """Hash for hash, and they verify against the reference's root."""
    proof = proof_of(inclusion_spans(index, size), NODES)
    assert [step.hex() for step in proof] == INCLUSION[index, size]
    check_inclusion(
        leaf=HASHES[index], index=index, size=size, proof=proof, root=bytes.fromhex(ROOTS[size - 1])
    )


@pytest.mark.parametrize(("older", "newer"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference(older, newer):
    """Hash for hash, and they verify against the reference's roots."""
    proof = proof_of(consistency_spans(older, newer), NODES)
    assert [step.hex() for step in proof] == CONSISTENCY[older, newer]
    roots = {
        "older_root": bytes.fromhex(ROOTS[older - 1]),
        "newer_root": bytes.fromhex(ROOTS[newer - 1]),
    }
    check_consistency(older=older, newer=newer, proof=proof, **roots)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_proofs_hold_for_every_size_and_for_nothing_else(data):
    """Growing in steps gives the tree of RFC 6962's recursion; each proof verifies, and neither for another leaf or
    place nor with a hash changed, left out or added."""
    size = data.draw(st.integers(2, 70))
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    cut = data.draw(st.integers(0, size))
    first = grown(0, {}, hashes[:cut])
    nodes = first | grown(cut, first, hashes[cut:])
    root = root_of(size, nodes)
    assert root == plain_root(hashes)
    index = data.draw(st.integers(0, size - 1))
    spans = inclusion_spans(index, size)
    assert nodes_of(spans) <= set(nodes)
    proof = proof_of(spans, nodes)
    check_inclusion(leaf=hashes[index], index=index, size=size, proof=proof, root=root)
    wrong = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    for changed in _forged(proof, data):
        with pytest.raises(ProofRefused):
            check_inclusion(leaf=hashes[index], index=index, size=size, proof=changed, root=root)
    with pytest.raises(ProofRefused):
        check_inclusion(leaf=hashes[wrong], index=index, size=size, proof=proof, root=root)
    with pytest.raises(ProofRefused):
        check_inclusion(leaf=hashes[index], index=wrong, size=size, proof=proof, root=root)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_consistency_holds_for_every_pair_and_for_nothing_else(data):
    """Of two sizes of one tree it verifies; of a tree that was rewritten it does not."""
    newer = data.draw(st.integers(1, 70))
    older = data.draw(st.integers(0, newer))
    hashes = [leaf_hash(bytes([number])) for number in range(newer)]
    nodes = grown(0, {}, hashes)
    proof = proof_of(consistency_spans(older, newer), nodes)
    roots = {"older_root": root_of(older, nodes), "newer_root": root_of(newer, nodes)}
    check_consistency(older=older, newer=newer, proof=proof, **roots)
    for changed in _forged(proof, data):
        with pytest.raises(ProofRefused):
            check_consistency(older=older, newer=newer, proof=changed, **roots)
    if older:
        rewritten = grown(0, {}, [leaf_hash(b"other"), *hashes[1:older]])
        with pytest.raises(ProofRefused):
            check_consistency(
                older=older,
                newer=newer,
                proof=proof,
                older_root=root_of(older, rewritten),
                newer_root=roots["newer_root"],
            )


def _forged(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """Proofs that are wrong in one place."""
    forged = [[*proof, leaf_hash(b"more")], [*proof, b"short"]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        forged.append([*proof[:at], leaf_hash(b"other"), *proof[at + 1 :]])
        forged.append([*proof[:at], *proof[at + 1 :]])
    return forged


def test_places_outside_the_tree_have_no_proof():
    """Neither is one made nor does one verify."""
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_spans(8, 8)
    with pytest.raises(ValueError, match="beginning"):
        consistency_spans(9, 8)
    with pytest.raises(ProofRefused):
        check_inclusion(leaf=HASHES[0], index=1, size=1, proof=[], root=HASHES[0])
    root = bytes.fromhex(ROOTS[7])
    with pytest.raises(ProofRefused):  # a root is no leaf
        check_inclusion(leaf=root, index=0, size=8, proof=[], root=root)
    with pytest.raises(ProofRefused):
        check_consistency(older=2, newer=1, proof=[], older_root=HASHES[0], newer_root=HASHES[0])


# --- checkpoints -------------------------------------------------------------------------------------------------


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_a_checkpoint_has_the_form_of_c2sp(key):
    """Name, size and root in three lines; a signature line of em dash, name and base64."""
    verifier = VerifierKey(ORIGIN, key.public_key())
    note = signed_checkpoint(Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[7])), key)
    lines = note.split("\n")
    root = base64.b64encode(bytes.fromhex(ROOTS[7])).decode()
    assert lines[:4] == [ORIGIN, "8", root, ""]
    assert lines[4].startswith(f"\u2014 {ORIGIN} ")
    assert lines[5:] == [""]
    signature = base64.b64decode(lines[4].rpartition(" ")[2])
    public = key.public_key().public_bytes_raw()
    assert signature[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + public).digest()[:4]
    key.public_key().verify(signature[4:], f"{ORIGIN}\n8\n{root}\n".encode())
    assert open_checkpoint(note, [verifier]) == Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[7]))


def test_the_key_of_the_specification_is_read():
    """The example key of Go's note package, from which the format comes."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert parse_verifier_key(text).text == text
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
        "KE6RyyBwJnAM=\n"
    )
    text, _, tail = note.partition("\n\n")
    signature = base64.b64decode(tail.split(" ")[2])
    key = parse_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert signature[:4] == key.hash
    key.key.verify(signature[4:], (text + "\n").encode())


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_byte_of_a_checkpoint_can_be_changed(at, flip):
    """Neither of the text nor of the signature line."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    note = signed_checkpoint(Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[7])), key).encode()
    at %= len(note)
    changed = note[:at] + bytes([note[at] ^ flip]) + note[at + 1 :]
    with pytest.raises(CheckpointRefused):
        open_checkpoint(changed.decode("utf-8", "replace"), [VerifierKey(ORIGIN, key.public_key())])


def test_another_key_or_name_does_not_verify(key):
    """A log is its name and its key."""
    note = signed_checkpoint(Checkpoint(ORIGIN, 8, bytes.fromhex(ROOTS[7])), key)
    for other in (
        VerifierKey("example.org/evidence", key.public_key()),
        VerifierKey(ORIGIN, Ed25519PrivateKey.generate().public_key()),
    ):
        with pytest.raises(CheckpointRefused):
            open_checkpoint(note, [other])
    with pytest.raises(CheckpointRefused):
        signed_checkpoint(Checkpoint("two words", 0, EMPTY_ROOT), key)


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", None, 7, "PeterNeumann+c74f20a4+ARpc2Q=="])
def test_what_is_no_verifier_key_is_refused(text):
    """With a named error."""
    with pytest.raises(CheckpointRefused):
        parse_verifier_key(text)
