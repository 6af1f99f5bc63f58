package sidecar_test

// asNobody is set for a test that runs again as somebody whom permissions concern.
const asNobody = "SIDECAR_TEST_AS_NOBODY"
