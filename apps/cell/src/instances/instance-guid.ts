import { randomBytes } from 'node:crypto'

/** A new instance guid in Diego's shape: 8-4-4-4-4 hexadecimal digits. */
export function newInstanceGuid(): string {
  const hex = randomBytes(12).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 24)].join('-')
}
