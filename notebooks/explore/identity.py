# Databricks notebook source
# MAGIC %md
# MAGIC # identity
# MAGIC Shows why two records belong to one person, or what is missing, and tries other rules. Set the widgets `a` and `b` to keys of
# MAGIC records, such as `customer:101`, or to numbers of persons. Set `tried_rules` to the path of another file of rules to see
# MAGIC which persons would merge and split. No job runs this notebook. See `docs/identity.md`.
# MAGIC
# MAGIC - Reads: `identity_records_silver`, `identity_edges_silver`, `identity_overrides_silver`, `person_links_silver`; for a plan,
# MAGIC   also `customers_silver`, `crm_contacts_silver`, `events_silver`, `retails_silver`
# MAGIC - Writes: nothing

# COMMAND ----------

import sys
from importlib.util import find_spec

sys.path += [] if find_spec("cdp_lib") else ["../../src"]

from cdp_lib.identity.explain import IdentityTables, explain
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.plan import plan_rules
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_lib.storage import open_store

# COMMAND ----------

for name in ("catalog", "schema", "identity_rules", "a", "b", "tried_rules"):
    dbutils.widgets.text(name, "")
store = open_store(spark, dbutils.widgets.get("catalog"), dbutils.widgets.get("schema"))
rules = read_identity_rules(dbutils.widgets.get("identity_rules"))

# COMMAND ----------

if dbutils.widgets.get("a"):
    model = load_model(rules.model) if rules.model else None
    tables = IdentityTables.read(store)
    found = explain(tables, dbutils.widgets.get("a"), dbutils.widgets.get("b"), rules, model)
    print(found.why)
    print(f"Evidence: {found.weight:.1f} bits; {found.link_weight:.1f} bits are needed.")
    for kind, bits in sorted(found.bits.items(), key=lambda item: -item[1]):
        print(f"  {kind:<20} {bits:+7.1f}")
    for attribute, (first, second) in found.values.items():
        print(f"  {attribute:<20} {first} | {second}")
    for step in found.steps:
        print(f"  {step.record_a} – {step.record_b}: {step.evidence} {step.cut}")

# COMMAND ----------

if dbutils.widgets.get("tried_rules"):
    planned, revenue = plan_rules(store, read_identity_rules(dbutils.widgets.get("tried_rules")))
    print(f"Persons: {planned.persons_before:,} now, {planned.persons_after:,} under the tried rules")
    print(f"Merges: {planned.merges:,}. Splits: {planned.splits:,}. Persons affected: {planned.persons_affected:,}")
    print(f"Customers who move: {len(planned.moved_customers):,}, with a revenue of {revenue:,.2f}")
    for example in planned.examples:
        print(f"  {example.event}: persons {example.persons}, {example.records} records: {', '.join(example.keys)}")
