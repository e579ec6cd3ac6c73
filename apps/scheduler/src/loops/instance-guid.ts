import { randomBytes } from 'node:crypto'

/** A new instance's id in Diego's shape: 24 random hexadecimal digits, 8-4-4-4-4. */
export const newInstanceGuid = (): string =>
  randomBytes(12)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{4})$/, '$1-$2-$3-$4-$5')
