import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { isEqual } from './is-equal.js'

/** One text for all values that are equal, whatever the order of their properties. */
const textOf = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([one], [other]) => (one < other ? -1 : 1)))
      : each,
  )
/** Few words and numbers, so that two values are alike often enough; names that every object inherits among them. */
const anyData = fc.letrec<{ data: unknown }>((tie) => ({
  data: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.constantFrom<unknown>(null, true, false, 0, 1, '', '0', 'a'),
    fc.array(tie('data'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('0', 'a', 'b', 'length', 'toString', '__proto__'), tie('data'), { maxKeys: 3 }),
  ),
})).data
const copyOf = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('equality of plain data', () => {
  it('is equality of what JSON says of them', () =>
    fc.assert(
      fc.property(anyData, anyData, (one, other) => {
        expect(isEqual(one, other)).toBe(textOf(one) === textOf(other))
        expect(isEqual(other, one)).toBe(isEqual(one, other))
      }),
      { numRuns: 1_000 },
    ))

  it('holds for copies, in any order of properties, and no longer once one is changed', () =>
    fc.assert(
      fc.property(anyData, anyData, (one, more) => {
        expect(isEqual(one, copyOf(one))).toBe(true)
        expect(isEqual({ one, more }, { more: copyOf(more), one: copyOf(one) })).toBe(true)
        expect(isEqual({ one }, { one: [one] })).toBe(false)
        expect(isEqual({ one }, { one, more })).toBe(false)
      }),
    ))

  it.each<[unknown, unknown, boolean]>([
    [{ a: undefined }, {}, true],
    [{}, { a: undefined }, true],
    [{ a: undefined, b: 1 }, { a: 1, b: 1 }, false],
    [[1], { 0: 1 }, false],
    [{ 0: 1 }, [1], false],
    [{}, [], false],
    [null, {}, false],
    [undefined, null, false],
    [1, '1', false],
  ])('%j and %j: %s', (one, other, equal) => expect(isEqual(one, other)).toBe(equal))
})
