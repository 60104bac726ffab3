#!/usr/bin/env python3
# SPDX-License-Identifier: CC0-1.0
"""Runs conditional.json against a server and prints a table of what it found. README.md tells more."""
import argparse, calendar, email.utils, http.client, itertools, json, pathlib, re, sys, time
from urllib.parse import urlsplit

GONE = (404, 410)
FORMS = {"imf": "%a, %d %b %Y %H:%M:%S GMT", "stem": "%a, %d %b %Y %H:%M:%S", "rfc850": "%A, %d-%b-%y %H:%M:%S GMT",
         "asctime": "%a %b {day:2} %H:%M:%S %Y", "iso": "%Y-%m-%dT%H:%M:%SZ", "epoch": "{epoch}"}
NUMBERS = itertools.count(int(time.time() * 1000))

def arguments():
    parser = argparse.ArgumentParser(description="Run the vectors for conditional requests against a server. {n} in a "
                                     "URL becomes a fresh number for each case; without it only reads are sent.")
    for name in "strong", "weak", "untagged", "absent":
        parser.add_argument(f"--{name}", metavar="URL", help=f"where there is a resource of this kind: {name}")
    parser.add_argument("--post", metavar="URL", help="create by POST to this URL, not by PUT to that of the resource")
    parser.add_argument("--body", default='{"value": "{v}"}', help="content of writes; {n} and {v} become numbers")
    parser.add_argument("--type", default="application/json", help="media type of that content")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="field of all requests")
    parser.add_argument("--read-only", action="store_true", help="send nothing but GET, HEAD and OPTIONS")
    parser.add_argument("--only", default="", metavar="PREFIX", help="run the cases whose id begins so")
    args = parser.parse_args()
    args.urls = [(name, vars(args)[name]) for name in ("strong", "weak", "untagged", "absent") if vars(args)[name]]
    if not args.urls:
        parser.error("give at least one of --strong, --weak, --untagged, --absent")
    for url in [url for _, url in args.urls] + [args.post] * bool(args.post):
        if not re.match("https?://[^/]", url):
            parser.error(f"not a URL such as http://127.0.0.1:5000/notes/{{n}}: {url}")
    if not all(re.match(r"[^\s:]+:", field) for field in args.header):
        parser.error("--header takes a name, a colon and a value")
    args.header = [[part.strip() for part in field.split(":", 1)] for field in args.header]
    vectors = json.loads(pathlib.Path(__file__).with_name("conditional.json").read_text("utf-8"))
    args.cases = [case for case in vectors["cases"] if case["id"].startswith(args.only)]
    return args

def send(args, method, url, fields=(), number=None):
    """Sends one request, with content if there is a number, and gives back status, fields and content of the response."""
    parts = urlsplit(url)
    connection = vars(http.client)[parts.scheme.upper() + "Connection"](parts.netloc, timeout=5)
    try:
        connection.putrequest(method, (parts.path or "/") + (parts.query and "?" + parts.query), False, True)
        content, framing = None, []
        if number is not None:
            content = args.body.replace("{n}", str(number)).replace("{v}", str(next(NUMBERS))).encode()
            framing = [["Content-Type", args.type], ["Content-Length", str(len(content))]]
        for name, value in [*args.header, *framing, *fields]:
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(content)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()

def prepare(args, template, create):
    """Makes sure that there is a resource, or none: its URL, state, tag, modification date, and the response to GET."""
    number = next(NUMBERS)
    url = template.replace("{n}", str(number))
    found, tried = send(args, "GET", url), ""
    if create and found[0] in GONE and not args.read_only:
        how = ["POST", args.post.replace("{n}", str(number))] if args.post else ["PUT", url, [["If-None-Match", "*"]]]
        tried = f"{how[0]} to {how[1]} was answered {send(args, *how, number=number)[0]}, and then "
        found = send(args, "GET", url)
    if found[0] != 200 and (tried or found[0] not in GONE):
        raise ValueError(f"{tried}GET of {url} was answered {found[0]}")
    tag = re.fullmatch('(W/)?"([^"]*)"', found[1].get("ETag", ""))
    date = email.utils.parsedate(found[1].get("Last-Modified", ""))
    state = ("absent" if found[0] in GONE else "weak" if tag and tag[1] else
             ("strong" if date else "strong-undated") if tag else "untagged" if date else "bare")
    return url, state, tag[2] if tag else "never", calendar.timegm(date) if date else int(time.time()) - 3600, found

def fill(value, tag, modified):
    """Puts the tag and the dates into a field value."""
    def date(match):
        at = (int(time.time()) if match[1] else modified) + int(match[3])
        return time.strftime(FORMS[match[2]].format(day=time.gmtime(at).tm_mday, epoch=at), time.gmtime(at))
    for name, part in ("", tag), (":head", tag[:-1]), (":tail", tag[1:]), (":swapcase", tag.swapcase()):
        value = value.replace("{tag%s}" % name, part)
    return re.sub(r"\{(now-)?(imf|stem|rfc850|asctime|iso|epoch)([+-]\d+)\}", date, value)

def was_performed(args, method, url, before, status):
    if method not in ("PUT", "DELETE"):
        return 200 <= status < 300
    after = send(args, "GET", url)
    if method == "DELETE" or after[0] != 200 or before[0] != 200:
        return before[0] != after[0] and after[0] in (GONE if method == "DELETE" else (200,))
    return (before[1].get("ETag"), before[2]) != (after[1].get("ETag"), after[2])

def run(args, case, url, state, tag, modified, before):
    """Runs one case, and gives back how it ended and, unless it passed, why."""
    fields = [[name, fill(value, tag, modified)] for name, value in case["fields"]]
    if tag.swapcase() == tag and any("{tag:swapcase}" in value for _, value in case["fields"]):
        return "skipped", "the tag has no letters"
    try:
        status, received, _ = send(args, case["method"], url, fields, 0 if case["method"] == "PUT" else None)
        if status in (405, 501):
            return "skipped", f"{case['method']} was answered {status}, so the resource does not support it"
        performed = was_performed(args, case["method"], url, before, status)
        got = f"{status} {'' if performed else 'not '}performed"
        for place, allowed in enumerate(case["allowed"]):
            if status in allowed["status"] and performed == allowed["performed"]:
                missing = [name for name in allowed.get("fields", []) if name not in received]
                if not missing:
                    return "other" if place else "passed", None
                got += f" without {', '.join(missing)}"
    except (OSError, http.client.HTTPException) as error:
        got = f"no response ({type(error).__name__}: {error})"
    allowed = " or ".join("/".join(map(str, one["status"])) + (" performed" if one["performed"] else " not performed")
                          for one in case["allowed"])
    sent = "; ".join(ascii(f"{name}: {value}"[:200]) for name, value in fields[:5])
    return "failed", f"{case['method']} {state}, {sent}: got {got}, allowed {allowed}. {case['why']}"

def main():
    args = arguments()
    templates, prepared, results = {}, {}, {}
    try:
        for name, url in args.urls:
            state = prepare(args, url, name != "absent")[1]
            print(f"--{name} {url}: the state is {state}")
            templates.setdefault(state, url)
        for case in args.cases:
            url, method = templates.get(case["state"]), case["method"]
            dated = any("since" in name.lower() or "imf" in value for name, value in case["fields"])
            if case["state"] == "strong" and not dated:  # then a tag without a modification date will do
                url = url or templates.get("strong-undated")
            if not url:
                results[case["id"]] = "skipped", f"no URL gives the state {case['state']}"
            elif method in ("PUT", "DELETE") and (args.read_only or "{n}" not in url):
                results[case["id"]] = "skipped", f"no {method} is sent with --read-only or to a URL without {{n}}"
            else:
                prepared[case["id"]] = (case, *prepare(args, url, case["state"] != "absent"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"run.py: the resources cannot be prepared: {error or type(error).__name__}")
    time.sleep(2)  # so that one second after the modification is not in the future
    results.update((name, run(args, *details)) for name, details in prepared.items())
    columns, layout = ("passed", "other", "failed", "skipped"), "{:8} {:6} {:>6} {:>7} {:>6} {:>7} {:>8}"
    print("\n" + layout.format("section", "level", "cases", *columns))
    rows = {(case["section"], case["level"]) for case in args.cases}
    for row in [*sorted(rows, key=lambda row: ([int(part) for part in row[0].split(".")], row[1])), ("all", "")]:
        ends = [results[case["id"]][0] for case in args.cases if row in (("all", ""), (case["section"], case["level"]))]
        print(layout.format(*row, len(ends), *map(ends.count, columns)))
    print("other: passed by an outcome that is allowed, but is not the first in the list\n")
    skipped = [why for end, why in results.values() if end == "skipped"]
    print(*(f"SKIPPED {skipped.count(why)}: {why}" for why in sorted(set(skipped))), sep="\n")
    failed = [case for case in args.cases if results[case["id"]][0] == "failed"]
    for case in failed:
        print(f"FAILED {case['id']} ({case['section']} {case['level']}): {results[case['id']][1]}")
    return int(any(case["level"] == "MUST" for case in failed))
sys.exit(main())
