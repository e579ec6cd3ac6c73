import { Binary, Code, Decimal128, deserialize, Int32, Long, MaxKey, ObjectId, serialize, Timestamp, type Document } from 'bson'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { checkDocument, elementsOf, MalformedError } from './bson-structure.js'

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.integer().map((n) => new Int32(n)),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((n) => Long.fromBigInt(n)),
    fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(2 ** 41) }),
    fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
    fc.uint8Array().map((bytes) => new Binary(bytes)),
    fc.constantFrom(/a+/i, new Decimal128('1.5'), new MaxKey(), new Timestamp(5n), new Code('x()')),
    fc.array(tie('any'), { maxLength: 4 }),
    tie('document'),
  ),
  document: fc.dictionary(
    fc.string().filter((name) => !name.includes('\0')),
    tie('any'),
    { maxKeys: 5 },
  ),
}))
const document = value.document as fc.Arbitrary<Document>

/**
 * How the server behind reads the names of a document: it goes by the terminating zeros and never looks at a length again. Throws where
 * it would.
 */
function namesByTerminators(bytes: Buffer, begin: number): { names: string[]; end: number } {
  const names: string[] = []
  let at = begin + 4
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    if (end < 0) throw new Error('no end')
    const found = bytes.toString('latin1', at, end)
    at = end + 1
    return found
  }
  const fixed: Record<number, number> = { 1: 8, 7: 12, 8: 1, 9: 8, 10: 0, 6: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0 }
  for (;;) {
    const type = bytes.readUInt8(at++)
    if (type === 0) return { names, end: at }
    names.push(text())
    if (type === 2 || type === 13) at += 4 + bytes.readInt32LE(at)
    else if (type === 3 || type === 4) at = namesByTerminators(bytes, at).end
    else if (type === 5) at += 5 + bytes.readInt32LE(at)
    else if (type === 11) {
      text()
      text()
    } else {
      const size = fixed[type]
      if (size === undefined) throw new Error('unknown type')
      at += size
    }
  }
}

describe('the structure of documents', () => {
  it('takes whatever the bson library writes, and finds the names that it finds', () =>
    fc.assert(
      fc.property(document, (given) => {
        const bytes = Buffer.from(serialize(given))
        expect(checkDocument(bytes, 0, bytes.length)).toBe(bytes.length)
        const names = elementsOf(bytes, 0).map(({ name }) => Buffer.from(name, 'latin1').toString())
        expect(names).toEqual(Object.keys(deserialize(bytes)))
      }),
    ))

  it('refuses every document that is cut short', () =>
    fc.assert(
      fc.property(document, fc.nat(), (given, cut) => {
        const bytes = Buffer.from(serialize(given))
        const short = bytes.subarray(0, cut % bytes.length)
        expect(() => checkDocument(short, 0, short.length)).toThrow(MalformedError)
      }),
    ))

  it('takes nothing that a reader who goes by terminators would read otherwise', () => {
    let taken = 0
    fc.assert(
      fc.property(
        document,
        fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 16))), { maxLength: 3 }),
        (given, changes) => {
          const bytes = Buffer.from(serialize(given))
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte
          try {
            checkDocument(bytes, 0, bytes.length)
            elementsOf(bytes, 0)
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedError)
            return
          }
          taken++
          expect(namesByTerminators(bytes, 0)).toEqual({ names: elementsOf(bytes, 0).map(({ name }) => name), end: bytes.length })
        },
      ),
      { numRuns: 3000 },
    )
    expect(taken).toBeGreaterThan(100)
  })

  it('is not fooled by a document inside that ends before its length says', () => {
    // {a: {}, $db: "other"} for who goes by terminators; {a: <14 bytes>} for who goes by lengths.
    const hidden = Buffer.from(serialize({ $db: 'other' })).subarray(4, -1)
    const inner = Buffer.concat([Buffer.alloc(4), Buffer.from([0]), hidden, Buffer.from([0])])
    inner.writeInt32LE(inner.length, 0)
    const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from([3, 0x61, 0]), inner, Buffer.from([0])])
    bytes.writeInt32LE(bytes.length, 0)
    expect(() => checkDocument(bytes, 0, bytes.length)).toThrow(MalformedError)
  })

  it('refuses a name that comes twice', () => {
    const element = Buffer.from(serialize({ $db: 'a' })).subarray(4, -1)
    const bytes = Buffer.concat([Buffer.alloc(4), element, element, Buffer.from([0])])
    bytes.writeInt32LE(bytes.length, 0)
    checkDocument(bytes, 0, bytes.length)
    expect(() => elementsOf(bytes, 0)).toThrow("'$db' is there twice")
  })

  it('refuses what is nested without an end', () => {
    const deep = Array.from({ length: 200 }).reduce<Document>((inner) => ({ a: inner }), {})
    const bytes = Buffer.from(serialize(deep))
    expect(() => checkDocument(bytes, 0, bytes.length)).toThrow('nested')
  })
})
