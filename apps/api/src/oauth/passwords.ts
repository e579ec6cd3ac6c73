import { hash, verify } from '@node-rs/argon2'

/** argon2id with the library's parameters (19 MiB, 2 passes), which are the ones that OWASP recommends. */
export const hashPassword = (password: string): Promise<string> => hash(password)

let decoy: Promise<string> | undefined

/** Takes as long for a user that is not there as for one that is, so that the time tells nobody which names exist. */
export async function passwordMatches(password: string, passwordHash: string | null | undefined): Promise<boolean> {
  if (!passwordHash) {
    await verify(await (decoy ??= hash('nobody has this password')), password)
    return false
  }
  return verify(passwordHash, password).catch(() => false)
}
