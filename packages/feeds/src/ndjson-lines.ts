const NEWLINE = 0x0a

/** Cuts a stream of bytes into lines. A line in parts is joined once, however many chunks it came in. */
export class NdjsonLines {
  #parts: Buffer[] = []

  /** The lines that this chunk completes; empty lines are left out. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#parts.push(chunk.subarray(start, end))
      const line = Buffer.concat(this.#parts).toString('utf8').trim()
      this.#parts = []
      if (line) lines.push(line)
      start = end + 1
    }
    if (start < chunk.length) this.#parts.push(chunk.subarray(start))
    return lines
  }
}
