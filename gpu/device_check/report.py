"""Results as a page that documentation can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_report(results: dict[str, Any], path: Path) -> None:
    """Write what was found, and on which card and day, as Markdown."""
    environment = results.get("environment", {})
    device = "the host layer (no GPU)" if results["dry"] else environment.get("device", "?")
    lines = [f"# Device check: {device}, {results['date']}", ""]
    lines += [f"- {name}: {value}" for name, value in environment.items() if name != "device"]
    lines += ["", "| call | outputs | other bits than the CPU |", "| --- | --- | --- |"]
    for call in results.get("values", {}).get("calls", []):
        lines.append(f"| {call['call']} | {call['outputs']} | {call['differing']} |")
    lines += ["", "| call | device, us | host, us | torchvision, us |", "| --- | --- | --- | --- |"]
    for call in results.get("times", {}).get("calls", []):
        theirs = "" if call["torchvision_us"] is None else f"{call['torchvision_us']:.1f}"
        lines.append(
            f"| {call['call']} | {call['device_us']:.1f} | {call['host_us']:.1f} | {theirs} |"
        )
    lines.append("")
    for name in ("streams", "tests", "sanitizer"):
        lines += [f"- {name}, {what}: {value}" for what, value in results.get(name, {}).items()]
    errors = {
        name: stage["error"]
        for name, stage in results.items()
        if isinstance(stage, dict) and "error" in stage
    }
    for name, error in errors.items():
        lines += ["", f"{name} failed:", "", "```", error.strip(), "```"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
