/** A document that is not what its lengths say. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** One element of a document: its BSON type, its name, and where its value begins and ends. */
export interface BsonElement {
  readonly type: number
  readonly name: string
  readonly at: number
  readonly end: number
}

export const BSON_TYPE = {
  string: 0x02,
  document: 0x03,
  array: 0x04,
  boolean: 0x08,
  int32: 0x10,
  int64: 0x12,
  double: 0x01,
} as const

const MAX_DEPTH = 180
/** Bytes of a value whose size is fixed. Types that are absent here and below are refused: deprecated ones, and code with a scope. */
const FIXED: Readonly<Record<number, number>> = {
  0x01: 8,
  0x06: 0,
  0x07: 12,
  0x08: 1,
  0x09: 8,
  0x0a: 0,
  0x10: 4,
  0x11: 8,
  0x12: 8,
  0x13: 16,
  0x7f: 0,
  0xff: 0,
}

/**
 * Checks a document and all that is in it, and returns where it ends. Every declared length must match what it holds to the byte:
 * of two readers, one that believes lengths and one that looks for terminators, both then see the same elements. Without that, an
 * element could be hidden from one of them.
 */
export function checkDocument(bytes: Buffer, at: number, limit: number, depth = 0): number {
  if (depth > MAX_DEPTH) throw new MalformedError(`documents are nested deeper than ${MAX_DEPTH} levels`)
  if (at + 5 > limit) throw new MalformedError('a document is cut short')
  const end = at + bytes.readInt32LE(at)
  if (end < at + 5 || end > limit || bytes[end - 1] !== 0) throw new MalformedError('a document has a wrong length')
  let position = at + 4
  while (position < end - 1) {
    const type = bytes[position] ?? 0
    position = checkValue(bytes, type, afterCString(bytes, position + 1, end - 1), end - 1, depth)
  }
  if (position !== end - 1) throw new MalformedError('an element reaches over the end of its document')
  return end
}

function checkValue(bytes: Buffer, type: number, at: number, limit: number, depth: number): number {
  switch (type) {
    case 0x02:
    case 0x0d:
      return afterString(bytes, at, limit)
    case 0x03:
    case 0x04:
      return checkDocument(bytes, at, limit, depth + 1)
    case 0x05:
      return afterBinary(bytes, at, limit)
    case 0x0b:
      return afterCString(bytes, afterCString(bytes, at, limit), limit)
    default: {
      const size = FIXED[type]
      if (size === undefined)
        throw new MalformedError(`an element has the type 0x${type.toString(16).padStart(2, '0')}, which is not taken`)
      if (at + size > limit) throw new MalformedError('a value is cut short')
      return at + size
    }
  }
}

/** Behind the zero that ends the text; that zero must lie before `limit`. */
export function afterCString(bytes: Buffer, at: number, limit: number): number {
  let position = at
  while (position < limit && bytes[position] !== 0) position++
  if (position >= limit) throw new MalformedError('a name has no end')
  return position + 1
}

function afterString(bytes: Buffer, at: number, limit: number): number {
  if (at + 5 > limit) throw new MalformedError('a text is cut short')
  const length = bytes.readInt32LE(at)
  const end = at + 4 + length
  if (length < 1 || end > limit || bytes[end - 1] !== 0) throw new MalformedError('a text has a wrong length')
  return end
}

function afterBinary(bytes: Buffer, at: number, limit: number): number {
  if (at + 5 > limit) throw new MalformedError('binary data are cut short')
  const length = bytes.readInt32LE(at)
  if (length < 0 || at + 5 + length > limit) throw new MalformedError('binary data have a wrong length')
  // The old form says its length twice.
  if (bytes[at + 4] === 2 && (length < 4 || bytes.readInt32LE(at + 5) !== length - 4))
    throw new MalformedError('binary data have a wrong length')
  return at + 5 + length
}

/** The elements of a checked document, in their order. A name that comes twice is refused: readers differ on which one counts. */
export function elementsOf(bytes: Buffer, at: number): BsonElement[] {
  const end = at + bytes.readInt32LE(at)
  const elements: BsonElement[] = []
  const names = new Set<string>()
  for (let position = at + 4; position < end - 1;) {
    const type = bytes[position] ?? 0
    const valueAt = afterCString(bytes, position + 1, end)
    // Every byte stands for itself here: what is not ASCII can never look like a name that we know.
    const name = bytes.toString('latin1', position + 1, valueAt - 1)
    if (names.has(name)) throw new MalformedError(`the field '${name}' is there twice`)
    names.add(name)
    const nested = type === BSON_TYPE.document || type === BSON_TYPE.array
    position = nested ? valueAt + bytes.readInt32LE(valueAt) : checkValue(bytes, type, valueAt, end - 1, 0)
    elements.push({ type, name, at: valueAt, end: position })
  }
  return elements
}

/** The text of a string element, undefined for any other type. */
export const stringOf = (bytes: Buffer, element: BsonElement | undefined): string | undefined =>
  element?.type === BSON_TYPE.string ? bytes.toString('utf8', element.at + 4, element.end - 1) : undefined
