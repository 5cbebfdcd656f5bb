#!/usr/bin/env bash
# Ensure Java 17 or newer, which the Spark engine needs: install it if possible, else print how to install it.
set -euo pipefail

major() { "$1" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -n 1; }

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if command -v "$java" >/dev/null && [ "$(major "$java")" -ge 17 ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Java 17 (Debian package openjdk-17-jre-headless) ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless >/dev/null
    exit 0
fi
echo "error: the Spark engine needs Java 17 or newer: install it (Debian, Ubuntu: sudo apt-get install" \
    "openjdk-17-jre-headless; macOS: brew install openjdk@17), or test without Spark: make test ENGINE=sail." >&2
exit 1
