import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { Agenda, type Now } from '../../src/watch/agenda.js';
import {
  MAX_RECOVERY_WAIT_MS,
  nextCronRun,
  resolveWatchOptions,
  type WatchOptions,
} from '../../src/watch/watch-options.js';

const STALE_MS = 900_000;
const HOUR_MS = 3_600_000;

function agendaOf(options: WatchOptions, staleAfterMs = STALE_MS): { agenda: Agenda; now: Now } {
  const now = { monotonic: 1000, wall: Date.UTC(2026, 0, 1) };
  return { agenda: new Agenda(resolveWatchOptions(options), staleAfterMs, now), now };
}

const DONE = { isPassing: false, succeeded: true, ageMs: 0 };
const OUTAGE = { isPassing: true, succeeded: false, ageMs: null };
const REFUSED = { isPassing: false, succeeded: false, ageMs: null };

void describe('the agenda of a watch', () => {
  void it('begins with a sync, or after an interval where that is not wanted', () => {
    const { agenda, now } = agendaOf({});
    assert.deepEqual(agenda.next(now), { inMs: 0, job: 'sync', reason: 'start' });
    const later = agendaOf({ syncOnStart: false, jitter: 0, intervalMs: 5000 });
    const first = later.agenda.next(later.now);
    assert.deepEqual(first, { inMs: 5000, job: 'sync', reason: 'interval' });
  });

  void it('goes on from the start of a sync, and at once where it took longer than the interval', () => {
    const { agenda, now } = agendaOf({ intervalMs: 5000, jitter: 0 });
    agenda.end({ ...DONE, startedAt: 1000, endedAt: 3000 });
    assert.equal(agenda.next({ ...now, monotonic: 3000 }).inMs, 3000);
    agenda.end({ ...DONE, startedAt: 6000, endedAt: 20_000 });
    assert.equal(agenda.next({ ...now, monotonic: 20_000 }).inMs, 0);
  });

  void it('comes before the cache is stale, but never without a pause', () => {
    const { agenda, now } = agendaOf({ intervalMs: 10 * HOUR_MS, jitter: 0 });
    agenda.end({ ...DONE, startedAt: 0, endedAt: 10_000, ageMs: 10_000 });
    const due = agenda.next({ ...now, monotonic: 10_000 });
    assert.deepEqual(due, { inMs: STALE_MS - 20_000, job: 'sync', reason: 'stale' });
    // A sync that takes longer than a cache may be old.
    agenda.end({ ...DONE, startedAt: 0, endedAt: 2 * STALE_MS, ageMs: 2 * STALE_MS });
    const next = agenda.next({ ...now, monotonic: 2 * STALE_MS });
    assert.deepEqual([next.inMs, next.reason], [2 * STALE_MS, 'stale']);
  });

  void it('comes back soon after an outage, ever more slowly, and as usual after a refusal', () => {
    const { agenda, now } = agendaOf({ intervalMs: HOUR_MS, jitter: 0 });
    let longest = 0;
    for (let at = 0; at < 30; at++) {
      agenda.end({ ...OUTAGE, startedAt: 0, endedAt: 0 });
      const { inMs, reason } = agenda.next({ ...now, monotonic: 0 });
      assert.equal(reason, 'recovery');
      assert.ok(inMs > 0 && inMs <= MAX_RECOVERY_WAIT_MS, String(inMs));
      if (at === 0) assert.ok(inMs <= 5000, String(inMs));
      longest = Math.max(longest, inMs);
    }
    assert.ok(longest > 10_000, String(longest));
    agenda.end({ ...REFUSED, startedAt: 0, endedAt: 100 });
    assert.deepEqual(agenda.next({ ...now, monotonic: 0 }).inMs, HOUR_MS);
  });

  void it('mends damage at once, but does not storm a source that is away', () => {
    const { agenda, now } = agendaOf({ intervalMs: HOUR_MS });
    agenda.end({ ...DONE, startedAt: 0, endedAt: 0 });
    agenda.damaged({ ...now, monotonic: 7000 });
    const due = agenda.next({ ...now, monotonic: 7000 });
    assert.deepEqual(due, { inMs: 0, job: 'sync', reason: 'recovery' });
    agenda.end({ ...OUTAGE, startedAt: 7000, endedAt: 7000 });
    const wait = agenda.next({ ...now, monotonic: 7000 }).inMs;
    agenda.damaged({ ...now, monotonic: 7000 });
    assert.equal(agenda.next({ ...now, monotonic: 7000 }).inMs, wait);
  });

  void it('verifies and rebuilds by the time of day, once each time', () => {
    const { agenda, now } = agendaOf({
      verifyCron: '0 30 3 * * *',
      rebuildCron: '0 0 4 * * 0',
      syncOnStart: false,
      intervalMs: 30 * 24 * HOUR_MS,
    });
    const first = agenda.next(now);
    assert.equal(first.job, 'verify');
    const at = { ...now, wall: now.wall + first.inMs };
    assert.equal(agenda.next(at).inMs, 0);
    agenda.begin('verify', at);
    const again = agenda.next(at);
    assert.ok(again.inMs > 0);
    // A rebuild that was asked for before its time does not take the place of the one on schedule.
    agenda.begin('rebuild', at);
    assert.equal(agenda.next(at).inMs, again.inMs);
  });

  void it('takes no notice of a clock that is set, but for what goes by it', () => {
    const { agenda, now } = agendaOf({ intervalMs: 5000, jitter: 0, verifyCron: '0 0 3 * * *' });
    agenda.end({ ...DONE, startedAt: 1000, endedAt: 1000 });
    for (const step of [-5, -1, 1, 5]) {
      const set = { ...now, wall: now.wall + step * 60_000 };
      const { inMs, job } = agenda.next(set);
      assert.deepEqual([inMs, job], [5000, 'sync']);
    }
    // Days ahead: one verify, not one for each day.
    const ahead = { ...now, wall: now.wall + 72 * HOUR_MS };
    assert.deepEqual([agenda.next(ahead).job, agenda.next(ahead).inMs < 0], ['verify', true]);
    agenda.begin('verify', ahead);
    assert.equal(agenda.next(ahead).job, 'sync');
  });

  void it('always has a next sync, neither overdue by its own doing nor beyond the interval', () => {
    const end = fc.record({
      kind: fc.constantFrom(DONE, OUTAGE, REFUSED),
      tookMs: fc.integer({ min: 0, max: 10_000_000 }),
      ageMs: fc.option(fc.integer({ min: 0, max: 10_000_000 })),
      damage: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(end, { maxLength: 40 }),
        fc.integer({ min: 1, max: 10_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 10_000_000 }),
        (ends, intervalMs, jitter, staleAfterMs) => {
          const { agenda, now } = agendaOf({ intervalMs, jitter }, staleAfterMs);
          let { monotonic } = now;
          for (const { kind, tookMs, ageMs, damage } of ends) {
            const startedAt = monotonic;
            monotonic += tookMs;
            agenda.end({
              ...kind,
              ageMs: kind.succeeded ? ageMs : null,
              startedAt,
              endedAt: monotonic,
            });
            const { inMs, reason } = agenda.next({ ...now, monotonic });
            assert.ok(inMs >= 0 && inMs <= 2 * intervalMs, `${inMs} of ${intervalMs}`);
            if (reason === 'recovery') assert.ok(inMs <= Math.min(60_000, intervalMs));
            if (reason === 'stale') assert.ok(inMs > Math.max(1000, tookMs) - 1);
            if (damage) agenda.damaged({ ...now, monotonic });
            monotonic += Math.max(0, agenda.next({ ...now, monotonic }).inMs);
          }
        },
      ),
    );
  });
});

void describe('options of a watch', () => {
  void it('name what is wrong', () => {
    const wrong: readonly (readonly [WatchOptions, RegExp])[] = [
      [{ intervalMs: 0 }, /intervalMs must be at least 1/],
      [{ intervalMs: NaN }, /intervalMs/],
      [{ jitter: 2 }, /jitter must be a number from 0 to 1/],
      [{ verifyCron: 'daily' }, /verifyCron must be a cron expression/],
      [{ rebuildCron: '0 0 31 2 *' }, /rebuildCron must be a cron expression that comes due/],
      [{ verifyLevel: 'all' as never }, /verifyLevel must be "quick"/],
      [{ every: 5 } as never, /every is not a known option/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(() => resolveWatchOptions(options), { code: 'CONFIG_INVALID', message });
    }
  });

  void it('know when a cron expression comes due', () => {
    const after = new Date(2026, 0, 1, 2, 59).getTime();
    assert.equal(nextCronRun('0 3 * * *', after), new Date(2026, 0, 1, 3).getTime());
    assert.equal(nextCronRun('0 3 * * *', after + 60_000), new Date(2026, 0, 2, 3).getTime());
  });
});
