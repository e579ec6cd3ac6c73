/** True for the name of a collection that clients may use: the server keeps its own books in `system.…`. */
export const isOwnCollection = (name: string | undefined): name is string =>
  name !== undefined &&
  name.length > 0 &&
  name.length <= 200 &&
  !name.startsWith('.') &&
  !/^system\./i.test(name) &&
  !/[$\0]/.test(name)

/** True for `database.collection` with a usable collection. */
export const isOwnNamespace = (namespace: string | undefined, database: string): boolean =>
  namespace?.startsWith(`${database}.`) === true && isOwnCollection(namespace.slice(database.length + 1))
