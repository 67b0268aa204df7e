// A short slice of tests/fuzz/hostile: generated hostile scripts leave no hang, no crash and no loss beside them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { run_hostile } from './hostile.mjs';
import { slow } from '../protocol/harness.mjs';

test('generated hostile scripts end by the deadline, leave nothing for the next call, and another institution loses no call', { timeout: 300000 * slow }, async (t) => {
  const seed = Number(process.env.HM_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const report = await run_hostile({ scripts: 200, seed, places: 2, alone_ms: 500 }).catch((error) => {
    error.message = `seed ${seed}: ${error.message}`;
    throw error;
  });
  t.diagnostic(JSON.stringify(report));
  assert.equal(report.scripts + report.files, 200);
  // It tries what it is for: limits are met, and some scripts come to an end.
  assert.ok(Object.keys(report.outcomes).length >= 3, JSON.stringify(report.outcomes));
  assert.ok(!report.ends.crashed, `workers crashed: ${report.ends.crashed}`);
});
