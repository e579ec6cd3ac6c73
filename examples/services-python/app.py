"""Writes to and reads from every kind of service that it is bound to."""

import os
import uuid
from contextlib import closing

import psycopg
import pymongo
import pymysql
import redis
from cfenv import AppEnv
from flask import Flask, jsonify, request

app = Flask(__name__)
environment = AppEnv()


class MySQL:
    def __init__(self, given):
        self.connection = pymysql.connect(
            host=given["host"],
            port=given["port"],
            user=given["username"],
            password=given["password"],
            database=given["database"],
            connect_timeout=5,
            autocommit=True,
        )
        self.run("CREATE TABLE IF NOT EXISTS notes (id VARCHAR(64) PRIMARY KEY, text TEXT)")

    def run(self, statement, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()

    def write(self, key, text):
        self.run("REPLACE INTO notes VALUES (%s, %s)", key, text)

    def read(self, key):
        row = self.run("SELECT text FROM notes WHERE id = %s", key)
        return row and row[0]

    def close(self):
        self.connection.close()


class PostgreSQL:
    def __init__(self, given):
        self.connection = psycopg.connect(given["uri"], connect_timeout=5, autocommit=True)
        self.connection.execute("CREATE TABLE IF NOT EXISTS notes (id text PRIMARY KEY, text text)")

    def write(self, key, text):
        self.connection.execute(
            "INSERT INTO notes VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET text = excluded.text", (key, text)
        )

    def read(self, key):
        row = self.connection.execute("SELECT text FROM notes WHERE id = %s", (key,)).fetchone()
        return row and row[0]

    def close(self):
        self.connection.close()


class Redis:
    def __init__(self, given):
        self.client = redis.Redis.from_url(given["uri"], socket_connect_timeout=5, decode_responses=True)

    def write(self, key, text):
        self.client.set(f"note:{key}", text)

    def read(self, key):
        return self.client.get(f"note:{key}")

    def close(self):
        self.client.close()


class MongoDB:
    def __init__(self, given):
        self.client = pymongo.MongoClient(given["uri"], serverSelectionTimeoutMS=5000)
        self.notes = self.client.get_default_database()["notes"]

    def write(self, key, text):
        self.notes.replace_one({"_id": key}, {"text": text}, upsert=True)

    def read(self, key):
        note = self.notes.find_one({"_id": key})
        return note and note["text"]

    def close(self):
        self.client.close()


KINDS = {"mysql": MySQL, "postgresql": PostgreSQL, "redis": Redis, "mongodb": MongoDB}


def credentials(kind):
    # By tag first, which other brokers' offerings have too, then by the offering's name.
    for service in environment.services:
        if kind in service.env.get("tags", []) or service.env.get("label") == kind:
            return service.credentials
    return None


@app.get("/")
def index():
    return jsonify(bound=[kind for kind in KINDS if credentials(kind)])


@app.route("/<kind>", methods=["POST"])
@app.route("/<kind>/<key>", methods=["GET", "PUT"])
def notes(kind, key=None):
    given = credentials(kind)
    if kind not in KINDS or given is None:
        return jsonify(error=f"no service of the kind '{kind}' is bound"), 404
    key = key or str(uuid.uuid4())
    try:
        with closing(KINDS[kind](given)) as store:
            if request.method == "GET":
                text = store.read(key)
                if text is None:
                    return jsonify(error="there is no such note"), 404
                return jsonify(id=key, text=text)
            store.write(key, request.get_data(as_text=True))
            return jsonify(id=key), 201
    except Exception as error:  # whatever a driver throws is what its server says
        app.logger.exception("%s", kind)
        return jsonify(error=str(error)), 502


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", "8080")))
