/** Linux refuses a single string of 128 KiB in an environment. */
export const MAX_VARIABLE_BYTES = 130_000
/** All variables of an app together. */
const MAX_TOTAL_CHARACTERS = 1_000_000

/** What is wrong with variables that a user sets, in the reference's words; null values delete and need no check beyond the name. */
export function variableFaults(variables: Readonly<Record<string, unknown>>): string[] {
  const faults: string[] = []
  let total = 0
  for (const [name, value] of Object.entries(variables)) {
    if (name === '') faults.push('key must be a minimum length of 1')
    else if (/^VCAP_/i.test(name)) faults.push(`cannot start with VCAP_`)
    else if (/^VMC/i.test(name)) faults.push(`cannot start with VMC_`)
    else if (/^PORT$/i.test(name)) faults.push('cannot set PORT')
    else if (/[=\0]/.test(name)) faults.push(`'${name}' is no name of a variable: it must not contain '='`)
    if (value === null) continue
    if (typeof value !== 'string') {
      faults.push(`Non-string value in environment variable for key '${name}', value '${JSON.stringify(value)}'`)
      continue
    }
    if (value.includes('\0')) faults.push(`The value of '${name}' must not contain a zero byte`)
    if (value.length > MAX_VARIABLE_BYTES) faults.push(`The value of '${name}' is longer than ${MAX_VARIABLE_BYTES} characters`)
    total += name.length + value.length
  }
  if (total > MAX_TOTAL_CHARACTERS)
    faults.push(
      `All variables together are longer than ${MAX_TOTAL_CHARACTERS} characters; put large values into a file or a service`,
    )
  return [...new Set(faults)]
}

/** Variables after a change: null takes one away. */
export function mergeVariables(
  present: Readonly<Record<string, string>>,
  change: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const merged: Record<string, string | null> = { ...present, ...change }
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== null))
}
