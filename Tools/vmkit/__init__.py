# SPDX-License-Identifier: Apache-2.0
"""What Tools/vm is made of."""
