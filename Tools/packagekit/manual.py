# SPDX-License-Identifier: Apache-2.0
"""Manual pages, from what the programs say of themselves (`--experimental-dump-help`)."""

import re
import time

# What this software's pages say at their foot and head.
SOURCE = "nodemesh"
TITLE = "nodemesh manual"


def pages(tool, section, date, related):
    """(file name, text) of a program's page and one for each of its visible commands.

    - related: names with sections for SEE ALSO of the first page, such as `nodemeshctl(1)`.
    """
    root = tool["command"]
    found = []

    def visit(command, names):
        name = "-".join(names)
        children = [one for one in command.get("subcommands", [])
                    if one.get("shouldDisplay", True) and one["commandName"] != "help"]
        also = [f"{name}-{one['commandName']}({section})" for one in children]
        also += [f"{'-'.join(names[:-1])}({section})"] if len(names) > 1 else related
        found.append((f"{name}.{section}", page(command, names, section, date, also)))
        for child in children:
            visit(child, names + [child["commandName"]])

    visit(root, [root["commandName"]])
    return found


def page(command, names, section, date, also):
    name = "-".join(names)
    lines = head(name, section, date, command.get("abstract", ""))
    arguments = [one for one in command.get("arguments", []) if one.get("shouldDisplay", True)]
    children = [one for one in command.get("subcommands", [])
                if one.get("shouldDisplay", True) and one["commandName"] != "help"]
    lines += [".SH SYNOPSIS", f".B {escape(' '.join(names))}"]
    lines += [synopsis(argument) for argument in arguments if not is_common(argument)]
    if children:
        lines.append(".I command")
    if command.get("discussion"):
        lines += [".SH DESCRIPTION"] + paragraphs(command["discussion"])
    if children:
        lines.append(".SH COMMANDS")
        for child in children:
            lines += [".TP", f".B {escape(child['commandName'])}", text(child.get("abstract", "") + ".")]
    groups = {}
    for argument in arguments:
        title = "Arguments" if argument["kind"] == "positional" else argument.get("sectionTitle") or "Options"
        groups.setdefault(title, []).append(argument)
    for title in sorted(groups, key=lambda title: (title != "Arguments", title != "Options")):
        lines.append(f".SH {escape(title.upper())}")
        for argument in groups[title]:
            lines += [".TP", spelled(argument)]
            said = " ".join(filter(None, [argument.get("abstract"), argument.get("discussion")]))
            values = argument.get("allValues") or []
            if values and not all(value in said for value in values):
                said += f" One of {', '.join(values)}."
            if argument.get("defaultValue") and "default:" not in said:
                said += f" (default: {argument['defaultValue']})"
            lines.append(text(said or "\\&"))
    return finish(lines, also)


def configuration(name, date, abstract, path, defaults, also):
    """The page of a configuration file.

    - defaults: the file with every key as a comment: `## SECTION`, and `# TEXT` lines before each `#key: value`.
    """
    lines = head(name, 5, date, abstract)
    lines += [".SH SYNOPSIS", f".I {escape(path)}", ".SH DESCRIPTION"]
    said = []
    for row in defaults.splitlines():
        if row.startswith("## "):
            lines += [text(one) for one in said if "SPDX" not in one]
            said = []
            lines.append(f".SH {escape(row[3:].upper())}")
        elif row.startswith("# "):
            said.append(row[2:])
        elif row.startswith("#") and ":" in row:
            key, _, value = row[1:].partition(":")
            lines += [".TP", f"\\fB{escape(key)}:\\fR{escape(value)}", *map(text, said)]
            said = []
    return finish(lines, also)


def head(name, section, date, abstract):
    stamp = time.strftime("%Y-%m-%d", time.gmtime(date))
    return [
        '.\\" SPDX-License-Identifier: Apache-2.0',
        f'.TH "{name.upper()}" "{section}" "{stamp}" "{SOURCE}" "{TITLE}"',
        ".nh", ".ad l",
        ".SH NAME", f"{escape(name)} \\- {escape(abstract.rstrip('.'))}",
    ]


def finish(lines, also):
    if also:
        references = []
        for index, one in enumerate(also):
            name, _, section = one.rstrip(")").partition("(")
            references.append(f".BR {escape(name)} ({section}){',' if index + 1 < len(also) else ''}")
        lines += [".SH SEE ALSO"] + references
    return "\n".join(lines) + "\n"


def is_common(argument):
    """Of every command: not worth a place in each synopsis."""
    return argument["kind"] != "positional" and argument.get("preferredName", {}).get("name") in ("help", "version")


def flag(name):
    return {"long": "--", "short": "-", "longWithSingleDash": "-"}[name["kind"]] + name["name"]


def synopsis(argument):
    if argument["kind"] == "positional":
        word = f"\\fI{escape(argument['valueName'])}\\fR"
    else:
        word = f"\\fB{escape(flag(argument['preferredName']))}\\fR"
        if argument["kind"] == "option":
            word += f" \\fI{escape(argument['valueName'])}\\fR"
    if argument.get("isRepeating"):
        word += " ..."
    return f"[{word}]" if argument.get("isOptional") else word


def spelled(argument):
    if argument["kind"] == "positional":
        return f".I {escape(argument['valueName'])}"
    names = ", ".join(f"\\fB{escape(flag(name))}\\fR" for name in
                      sorted(argument["names"], key=lambda name: name["kind"] == "long"))
    return names + (f" \\fI{escape(argument['valueName'])}\\fR" if argument["kind"] == "option" else "")


def paragraphs(discussion):
    """Headings in capitals become sections, indented lines stay as they are."""
    lines = []
    for block in re.split(r"\n\s*\n", discussion.strip("\n")):
        rows = block.split("\n")
        if re.fullmatch(r"[A-Z][A-Z ]+", rows[0]):
            lines.append(f".SH {rows.pop(0)}")
        elif lines and lines[-1] != ".PP":
            lines.append(".PP")
        if rows and any(row.startswith(" ") for row in rows):
            lines += [".nf"] + [text(row) for row in rows] + [".fi"]
        else:
            lines += [text(row) for row in rows]
    return lines


def text(line):
    """A line that roff does not take for a request; what stands in backquotes is bold."""
    parts = line.split("`")
    if len(parts) % 2 == 0:
        parts = [line]
    line = "".join(f"\\fB{escape(part)}\\fR" if index % 2 else escape(part) for index, part in enumerate(parts))
    return "\\&" + line if line[:1] in (".", "'") else line


def escape(line):
    line = line.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return line.replace("'", "\\(aq")
