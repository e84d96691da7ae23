// Runs every test of http-cache-tests against BASE, and prints kind, id and outcome of each.
import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

await runTests(suites, fetch, false, process.env.BASE)
const results = getResults()
const tests = suites.flatMap((suite) => suite.tests).filter((test) => !test.browser_only)
console.log(JSON.stringify(tests.map((test) => [test.kind ?? 'required', test.id, results[test.id]])))
