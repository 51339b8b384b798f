# SPDX-License-Identifier: Apache-2.0
"""Debian packages, for Tools/package."""
