/** Spellings of names that have been seen, so that most names are not lowered anew with each request. */
const spellings = new Map<string, string>()
const MAX_SPELLINGS = 1_000
const MAX_KEPT_LENGTH = 64

/** A name in lower case. */
function lower(name: string): string {
  const known = spellings.get(name)
  if (known !== undefined) return known
  const lowered = name.toLowerCase()
  if (spellings.size < MAX_SPELLINGS && name.length <= MAX_KEPT_LENGTH) spellings.set(name, lowered)
  return lowered
}

/**
 * Header fields as they came: order, capitalisation and repetition kept. Names are compared without case; those given to the
 * methods are lower case.
 */
export class RawHeaders {
  #names: string[] = []
  #lowered: string[] = []
  #values: string[] = []

  /** From a flat list of names and values. */
  static from(flat: readonly string[]): RawHeaders {
    const headers = new RawHeaders()
    for (let i = 0; i + 1 < flat.length; i += 2) headers.append(flat[i] ?? '', flat[i + 1] ?? '')
    return headers
  }

  get size(): number {
    return this.#names.length
  }

  /** The first field of that name. */
  get(name: string): string | undefined {
    const at = this.#lowered.indexOf(name)
    return at === -1 ? undefined : this.#values[at]
  }

  getAll(name: string): string[] {
    const found: string[] = []
    for (let at = this.#lowered.indexOf(name); at !== -1; at = this.#lowered.indexOf(name, at + 1))
      found.push(this.#values[at] ?? '')
    return found
  }

  has(name: string): boolean {
    return this.#lowered.includes(name)
  }

  /** How many fields have that name. */
  count(name: string): number {
    let count = 0
    for (const each of this.#lowered) if (each === name) count++
    return count
  }

  /** One field of that name instead of all there are; the name is written as given. */
  set(name: string, value: string): void {
    const lowered = lower(name)
    const at = this.#lowered.indexOf(lowered)
    if (at === -1) return this.append(name, value)
    this.#names[at] = name
    this.#values[at] = value
    if (this.#lowered.includes(lowered, at + 1)) this.#keep((each, i) => each !== lowered || i === at)
  }

  append(name: string, value: string): void {
    this.#names.push(name)
    this.#lowered.push(lower(name))
    this.#values.push(value)
  }

  remove(...names: readonly string[]): void {
    if (names.some((name) => this.#lowered.includes(name))) this.#keep((each) => !names.includes(each))
  }

  /** Removes each field that the test says yes to; it is given the name in lower case. */
  removeWhere(test: (name: string) => boolean): void {
    if (this.#lowered.some(test)) this.#keep((each) => !test(each))
  }

  /** A flat list of names and values. */
  toFlat(): string[] {
    return this.#names.flatMap((name, i) => [name, this.#values[i] ?? ''])
  }

  /** The lines as they go over the wire, each with its line end. */
  toLines(): string {
    let lines = ''
    for (let i = 0; i < this.#names.length; i++) lines += `${this.#names[i] ?? ''}: ${this.#values[i] ?? ''}\r\n`
    return lines
  }

  /** In place: it runs for most messages, and four more arrays for each would be garbage. */
  #keep(wanted: (name: string, at: number) => boolean): void {
    const [names, lowered, values] = [this.#names, this.#lowered, this.#values]
    let kept = 0
    for (let at = 0; at < lowered.length; at++) {
      const name = lowered[at] ?? ''
      if (!wanted(name, at)) continue
      if (kept !== at) {
        names[kept] = names[at] ?? ''
        lowered[kept] = name
        values[kept] = values[at] ?? ''
      }
      kept++
    }
    names.length = lowered.length = values.length = kept
  }
}

/** The comma-separated members of all fields of that name, lower case. */
export function tokensOf(headers: RawHeaders, name: string): string[] {
  const value = headers.get(name)
  if (value === undefined) return []
  return headers
    .getAll(name)
    .flatMap((each) => each.split(','))
    .map((token) => token.trim().toLowerCase())
    .filter(Boolean)
}
