/** The person at the terminal ended it. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}
