"""GET and PUT of a person in Flask, as a user of Flask would write them.

The persons are in memory, so there must be only one process. A PUT is evaluated and performed under
one lock. As a script, this starts Flask's development server, without its log.
"""

import logging
from datetime import datetime, timezone
from hashlib import md5
from threading import Lock

from flask import Flask, jsonify, request
from werkzeug.serving import make_server

app = Flask(__name__)
lock = Lock()
persons = {}


def new_person(person_id, person_name):
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return {"change_date": now, "person_id": person_id, "person_name": person_name}


def person_response(person, status=200):
    response = jsonify(person)
    response.status_code = status
    response.set_etag(tag(person))
    return response


def tag(person):
    return md5(person["change_date"].encode()).hexdigest()


def problem(status, message):
    return jsonify(message=message), status


@app.get("/persons/<person_id>")
def read(person_id):
    person = persons.get(person_id)
    if person is None:
        return problem(404, "Person not found")
    if "If-Match" in request.headers and tag(person) not in request.if_match:
        return problem(412, "Data already changed")
    return person_response(person).make_conditional(request)


@app.put("/persons/<person_id>")
def replace(person_id):
    content = request.get_json()
    with lock:
        person = persons.get(person_id)
        if person is None and "If-None-Match" not in request.headers:
            return problem(404, "Person not found")
        if person is not None and tag(person) not in request.if_match:
            return problem(412, "Data already changed")
        status = 201 if person is None else 200
        persons[person_id] = person = new_person(person_id, content["person_name"])
    return person_response(person, status)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
