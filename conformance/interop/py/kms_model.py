"""Compares what waxseal-kms-api knows of the service model (JSON on stdin) with the model of the
botocore that is installed. Prints one line a check: `ok NAME` or `FAIL NAME: WHY`."""

import json
import sys

import botocore.session

ours = json.load(sys.stdin)
session = botocore.session.get_session()
theirs = session.get_service_model("kms")
# What a shape's metadata leaves out.
written = session.get_component("data_loader").load_service_model("kms", "service-2")["shapes"]
failed = False

# Errors of what is not here: custom key stores.
ABSENT = ("CloudHsm", "CustomKeyStore", "Xks", "IncorrectTrustAnchor")


def check(name, problems):
    global failed
    if problems:
        failed = True
        print(f"FAIL {name}: {'; '.join(problems)}")
    else:
        print(f"ok {name}")


def difference(what, left, right):
    if left == right:
        return []
    return [f"{what} is {left!r} here and {right!r} in the model"]


def range_of(shape):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    return None if low is None and high is None else [low or 0, high]


def compare(path, rule, shape):
    found = difference(f"type of {path}", rule["type"], shape.type_name)
    enum = shape.metadata.get("enum")
    # Their order is that of AWS's errors where that is known, and it is not the model's.
    found += difference(f"values of {path}", sorted(rule["enum"] or []), sorted(enum or []))
    found += difference(f"pattern of {path}", rule["pattern"], shape.metadata.get("pattern"))
    if not enum and shape.type_name not in ("map", "structure"):
        found += difference(f"range of {path}", rule["range"], range_of(shape))
    if shape.type_name == "list":
        if shape.member.type_name == "structure":
            found += difference(f"items of {path}", rule["members"], list(shape.member.members))
        else:
            found += compare(f"{path}[]", rule["item"], shape.member)
    if shape.type_name == "structure":
        found += difference(f"members of {path}", rule["members"], list(shape.members))
    return found


check(
    "operations",
    difference("the list", sorted(ours["operations"]), sorted(theirs.operation_names)),
)

for name in theirs.shape_names:
    shape = theirs.shape_for(name)
    if shape.type_name != "structure" or shape.metadata.get("exception"):
        continue
    if not shape.members:
        continue
    members = ours["shapes"].pop(name, None)
    if members is None:
        check(name, ["it is not here"])
        continue
    found = difference("the list of members", sorted(members), sorted(shape.members))
    for member, inner in shape.members.items():
        if member in members:
            found += compare(member, members[member], inner)
            required = member in shape.required_members
            found += difference(f"{member} required", members[member]["required"], required)
    check(name, found)
check("no type of our own", sorted(ours["shapes"]))

missing = []
for shape in theirs.error_shapes:
    # The name on the wire, where it differs from that of the shape.
    name = shape.metadata.get("error", {}).get("code", shape.name)
    wire = shape.name if shape.name in ours["errors"] else name
    if wire in ours["errors"]:
        status = 500 if written[shape.name].get("fault") else 400
        missing += difference(f"status of {wire}", ours["errors"][wire], status)
    elif not shape.name.startswith(ABSENT):
        missing.append(f"{shape.name} is not here")
check("errors", missing)
sys.exit(failed)
