"""Images: from a registry with and without login, by digest, missing, unchanged; pulls that fail inside a 200."""

import json

import pytest
from docker_support import Registry, stable_part
from support import wait_for

PASSWORD = "hunter2-Zq9x"


@pytest.fixture
def registry(box):
    return Registry(box.case)


@pytest.fixture
def closed(box):
    return Registry(box.case, "ci", PASSWORD)


def plan(box, registry, over=None, name="shop/web", **service):
    """One replica of NAME:${tag} of the registry, no balancer."""
    image = f"{registry.server}/{name}:${{tag}}"
    return box.plan(over, services={"web": box.service({"image": image, "replicas": 1, **service}, balancer=None)})


def login(registry, box, password=PASSWORD):
    (box.case.dir / "password").write_text(password + "\n")
    return {"secrets": {"registry": "file://./password"},
            "clusters": {"web": {"docker": {"registry": {"server": registry.server, "user": "ci", "password": "registry"}}}}}


def unchanged(box, before):
    assert [stable_part(c) for c in box.containers()] == before


def test_pull_resolves_a_tag_to_a_digest(box, registry):
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    registry.push(box.engine, "ts:v2", "shop/web:v2")
    plan(box, registry)
    run = box.deploy("v1")
    resolved = [e for e in run.events if e["kind"] == "resolve"]
    assert resolved and "sha256:" in json.dumps(resolved[0])
    assert f"{registry.server}/shop/web@sha256:" in box.running()[0]["Config"]["Image"], "runs what was resolved, not the tag"
    assert any(e["kind"] == "pull" for e in run.events), run.kinds()
    box.deploy("v2")
    assert box.versions() == {"v2": 1}
    before = box.ids()
    box.deploy("v2")
    assert box.ids() == before
    box.deploy("v2", verb="rollback")
    assert box.versions() == {"v1": 1}


def test_tag_that_moved_and_tag_that_did_not(box, registry):
    """pull: always with one moving tag: what it means now is deployed; where it means the same, that is said."""
    registry.push(box.engine, "ts:v1", "shop/web:latest")
    plan(box, registry, pull="always")
    box.deploy("latest")
    before = box.ids()
    same = box.turnout("deploy", "--yes", "--var", "tag=latest", "--progress", "plain")
    assert same.rc == 0 and box.ids() == before, repr(same)
    registry.push(box.engine, "ts:v2", "shop/web:latest")
    shown = box.turnout("diff", "--var", "tag=latest", "--detailed-exitcode")
    assert shown.rc == 2 and "sha256:" in shown.out, repr(shown)
    box.deploy("latest")
    assert box.versions() == {"v2": 1}
    # A new tag for the same contents replaces nothing, and somebody who expects a change is told.
    registry.push(box.engine, "ts:v2", "shop/web:v9")
    before = box.ids()
    said = box.turnout("deploy", "--yes", "--var", "tag=v9", "--progress", "plain")
    assert said.rc == 0 and box.ids() == before, repr(said)
    text = (said.out + said.err).lower()
    assert any(word in text for word in ("not move", "same image", "unchanged", "did not change", "same digest")), repr(said)


def test_image_by_digest(box, registry):
    registry.push(box.engine, "ts:v1", "shop/web:v1", keep=True)
    digest = box.engine.get(f"/images/{registry.server}/shop/web:v1/json")["RepoDigests"][0]
    box.engine.delete(f"/images/{registry.server}/shop/web:v1")
    box.plan(services={"web": box.service({"image": digest, "replicas": 1}, balancer=None)})
    box.deploy("v1")
    assert box.running()[0]["Config"]["Image"] == digest


def test_pull_never(box, registry):
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, registry, pull="never", name="shop/web")
    run = box.deploy("v1", rc=None)
    assert run.rc == 1 and box.containers() == [], repr(run)
    assert f"{registry.server}/shop/web:v1" in run.err, run.err[-1000:]


@pytest.mark.parametrize("name", ["shop/web:nosuchtag", "shop/nosuchimage:v1"])
def test_image_not_found_changes_nothing(box, registry, name):
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, registry)
    box.deploy("v1")
    before = [stable_part(c) for c in box.containers()]
    repo, _, tag = name.partition(":")
    plan(box, registry, name=repo)
    run = box.turnout("deploy", "--yes", "--var", f"tag={tag}", "--progress", "plain")
    assert run.rc == 1, repr(run)
    assert f"{registry.server}/{name}" in run.err and "not" in run.err, repr(run)
    unchanged(box, before)
    assert box.turnout("diff", "--var", f"tag={tag}").rc == 1


def test_registry_that_does_not_answer(box, registry):
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, registry)
    box.deploy("v1")
    before = [stable_part(c) for c in box.containers()]
    registry.proc.kill()
    registry.proc.wait()
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=60)
    assert run.rc == 1 and registry.server in run.err, repr(run)
    unchanged(box, before)


# ---- logins -------------------------------------------------------------------------------------------------


def test_login_from_the_plan(box, closed):
    closed.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, closed, login(closed, box))
    run = box.deploy("v1")
    assert box.versions() == {"v1": 1}
    for text in (run.out, run.err, json.dumps([c["Config"] for c in box.containers()])):
        assert PASSWORD not in text
    for path in (box.case.dir / "state").rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("how", ["wrong", "none"])
def test_login_refused_is_4(box, closed, how):
    closed.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, closed, login(closed, box, "wrong") if how == "wrong" else None)
    run = box.turnout("deploy", "--yes", "--progress", "plain")
    assert run.rc == 4, repr(run)
    assert closed.server in run.err, repr(run)
    assert box.containers() == []


def test_login_from_the_docker_config(box, closed):
    import base64

    closed.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, closed)
    folder = box.case.dir / "home/.docker"
    folder.mkdir()
    auth = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {closed.server: {"auth": auth}}}))
    box.deploy("v1")
    assert box.versions() == {"v1": 1}


def test_login_from_a_credential_helper(box, closed):
    """docker-credential-NAME get, the server on its standard input."""
    closed.push(box.engine, "ts:v1", "shop/web:v1")
    plan(box, closed)
    folder, tools = box.case.dir / "home/.docker", box.case.dir / "tools"
    folder.mkdir(), tools.mkdir()
    (folder / "config.json").write_text(json.dumps({"credHelpers": {closed.server: "e2e"}}))
    helper = tools / "docker-credential-e2e"
    helper.write_text(f'#!/bin/sh\nread -r server; echo "$1 $server" >>{tools}/asked\n'
                      f'echo \'{{"ServerURL":"{closed.server}","Username":"ci","Secret":"{PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    import os

    box.deploy("v1", env={"PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin"})
    assert box.versions() == {"v1": 1}
    assert (tools / "asked").read_text().splitlines()[0] == f"get {closed.server}"


# ---- S26 ----------------------------------------------------------------------------------------------------


def in_band(head, body):
    lines = [line for line in body.splitlines() if line][:1]
    return head, b"\r\n".join(lines + [b'{"errorDetail":{"message":"e2e: unexpected EOF of a layer"},"error":"e2e: unexpected EOF of a layer"}']) + b"\r\n"


def test_s26_error_inside_a_successful_pull(box, registry):
    """S26: the engine answers 200 and says in the stream that it failed."""
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    registry.push(box.engine, "ts:v2", "shop/web:v2")
    proxy = box.proxy()
    box.url = proxy.url
    plan(box, registry)
    box.deploy("v1")
    before = [stable_part(c) for c in box.containers()]
    proxy.rule("POST /images/create", in_band)
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain")
    assert run.rc == 1, repr(run)
    assert "e2e: unexpected EOF of a layer" in run.err, repr(run)
    unchanged(box, before)
    proxy.clear()
    box.deploy("v2")


def test_s26_stream_that_is_cut(box, registry):
    """A stream cut before its end is no success, even though it began with 200; nothing is changed or it was tried again."""
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    registry.push(box.engine, "ts:v2", "shop/web:v2")
    proxy = box.proxy()
    box.url = proxy.url
    plan(box, registry)
    box.deploy("v1")
    before = [stable_part(c) for c in box.containers()]
    proxy.rule("POST /images/create", "refuse")
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=60)
    assert run.rc == 1, repr(run)
    unchanged(box, before)


def test_s27_too_many_requests(box, registry):
    """S27 on one engine: the registry's own words, nothing changed, no storm of tries."""
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    proxy = box.proxy()
    box.url = proxy.url
    plan(box, registry, {"clusters": {}}, replicas=3)
    proxy.rule("POST /images/create", lambda head, body: (b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n",
                                                          b'{"message":"toomanyrequests: You have reached your pull rate limit."}'))
    run = box.turnout("deploy", "--yes", "--progress", "plain", timeout=60)
    assert run.rc == 1 and "toomanyrequests" in run.err, repr(run)
    assert box.containers() == []
    assert len([c for c in proxy.calls if "/images/create" in c[1]]) <= 4


def test_keep_holds_the_images_of_kept_revisions(box, registry):
    """Rolled back to without a registry: the image is still there, in spite of a prune."""
    registry.push(box.engine, "ts:v1", "shop/web:v1")
    registry.push(box.engine, "ts:v2", "shop/web:v2")
    plan(box, registry)
    box.deploy("v1")
    box.deploy("v2")
    wait_for("one", lambda: len(box.containers()) == 1)
    assert box.turnout("prune", "--yes").rc == 0
    registry.proc.kill()
    registry.proc.wait()
    box.deploy("v2", verb="rollback")
    assert box.versions() == {"v1": 1}
