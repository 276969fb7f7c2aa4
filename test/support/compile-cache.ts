/** compileCache is the part of our environment that a child with an environment of its own needs to compile nothing twice. */
export function compileCache(
  { NODE_COMPILE_CACHE: folder }: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder }
}
