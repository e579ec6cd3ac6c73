import { Tails } from './tails.js'

describe('followers of a log', () => {
  let now = 10_000
  const tails = new Tails(() => now)

  it.each([
    ['nobody follows', undefined, 10_000, 0],
    ['somebody follows, the build has just ended', 10_000, 10_000, 2_600],
    ['it ended a second ago', 10_000, 9_000, 1_600],
    ['it ended long ago', 10_000, 1_000, 0],
    ['the follower has left', 7_000, 10_000, 0],
    ['a clock ahead of ours', 10_000, 60_000, 2_600],
  ])('%s', (_name, readAt, endedAt, expected) => {
    const source = _name
    if (readAt !== undefined) {
      now = readAt
      tails.noteRead(source)
    }
    now = 10_000
    expect(tails.millisecondsUntilShown(source, endedAt)).toBe(expected)
  })
})
