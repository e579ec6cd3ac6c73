/** Header fields as they came: order, capitalisation and repetition kept. Names are compared without case. */
export class RawHeaders {
  #fields: [name: string, value: string][]

  private constructor(fields: [string, string][]) {
    this.#fields = fields
  }

  /** From Node's flat list of names and values. */
  static from(flat: readonly string[]): RawHeaders {
    const fields: [string, string][] = []
    for (let i = 0; i + 1 < flat.length; i += 2) fields.push([flat[i] ?? '', flat[i + 1] ?? ''])
    return new RawHeaders(fields)
  }

  /** The first field of that name. */
  get(name: string): string | undefined {
    const wanted = name.toLowerCase()
    return this.#fields.find(([each]) => each.toLowerCase() === wanted)?.[1]
  }

  getAll(name: string): string[] {
    const wanted = name.toLowerCase()
    return this.#fields.filter(([each]) => each.toLowerCase() === wanted).map(([, value]) => value)
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** Replaces all fields of that name by one. */
  set(name: string, value: string): void {
    this.remove(name)
    this.append(name, value)
  }

  append(name: string, value: string): void {
    this.#fields.push([name, value])
  }

  remove(...names: readonly string[]): void {
    const unwanted = new Set(names.map((name) => name.toLowerCase()))
    this.#fields = this.#fields.filter(([name]) => !unwanted.has(name.toLowerCase()))
  }

  clone(): RawHeaders {
    return new RawHeaders([...this.#fields])
  }

  /** Node's flat list. */
  toFlat(): string[] {
    return this.#fields.flat()
  }
}

/** The comma-separated members of all fields of that name, lower case. */
export const tokensOf = (headers: RawHeaders, name: string): string[] =>
  headers
    .getAll(name)
    .flatMap((value) => value.split(','))
    .map((token) => token.trim().toLowerCase())
    .filter(Boolean)
