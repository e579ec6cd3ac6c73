import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'

interface Wanted {
  readonly guid: string
  readonly name: string
  readonly stack: string | null
}

/** Name and stack together are unique, and a name has one buildpack without a stack at most. */
export async function requireFreeName(tx: Transaction, wanted: Wanted): Promise<void> {
  if (!(await isTaken(tx, wanted))) return
  throw unprocessable(
    wanted.stack === null
      ? `Buildpack with name '${wanted.name}' and an unassigned stack already exists`
      : `Buildpack with name '${wanted.name}', stack '${wanted.stack}' and lifecycle 'buildpack' already exists`,
  )
}

/** The same in the words of the upload's job, which finds out the stack. */
export async function requireFreeStack(tx: Transaction, wanted: Wanted): Promise<void> {
  if (await isTaken(tx, wanted))
    throw new CfError(
      'BuildpackNameStackTaken',
      `The buildpack name ${wanted.name} is already in use for the stack ${wanted.stack ?? 'null'} and lifecycle buildpack`,
    )
}

const isTaken = async (tx: Transaction, { guid, name, stack }: Wanted): Promise<boolean> =>
  (await tx.buildpack.count({ where: { name, stack, NOT: { guid } } })) > 0

export async function requireStack(tx: Transaction, name: string): Promise<void> {
  if (!(await tx.stack.findUnique({ where: { name } }))) throw unprocessable(`Stack '${name}' does not exist`)
}
