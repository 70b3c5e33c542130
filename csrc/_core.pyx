# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
"""The compiled core: a table of contents, in the order data flows."""

include "externs.pxi"
include "columns.pxi"   # Python values -> columns of a segment
include "json.pxi"      # JSON texts -> columns
include "results.pxi"   # what a push found
include "rows.pxi"      # expressions over whole batches
include "row_store.pxi" # rows that an operator holds
include "aggregate.pxi" # results and logs of aggregates
include "windows.pxi"   # windows of one input
include "records.pxi"   # the state of an engine, out and in
include "engine.pxi"    # Core: owns the stages; push() is the flow
include "joins.pxi"     # what operators of two inputs share
include "join_interval.pxi"
include "join_asof.pxi"
include "join_latest.pxi"
include "join_panes.pxi"
include "sliding.pxi"    # a window for each row
