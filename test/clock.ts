import type { Clock } from '../src/domain/ports/clock.ts'

/** A clock that stands still until it is moved. */
export class TestClock implements Clock {
  #now: number
  /** The total milliseconds of all sleeps, which return at once. */
  slept = 0

  constructor(now = Date.UTC(2026, 0, 1, 12)) {
    this.#now = now
  }
  now(): number {
    return this.#now
  }
  async sleep(span: number): Promise<void> {
    this.slept += span
  }
  advance(seconds: number): void {
    this.#now += seconds * 1000
  }
}
