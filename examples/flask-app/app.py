import json
import os
import platform

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/")
def index():
    name = json.loads(os.environ.get("VCAP_APPLICATION", "{}")).get("name", "flask-app")
    return f"Hello from {name}, instance {os.environ.get('CF_INSTANCE_INDEX', '0')}, Python {platform.python_version()}\n"


@app.post("/echo")
def echo():
    return jsonify(request.get_json())
