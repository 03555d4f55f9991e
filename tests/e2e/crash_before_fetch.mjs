/*
 * Loaded into an app by `node --import`: kills a process right before the app sends a request that holds certain words.
 *
 * So a test crashes the app (or the engine, by CRASH_PID) after one step was journaled and before the next one began.
 */

const words = process.env.CRASH_BEFORE;
const pid = Number(process.env.CRASH_PID ?? process.pid);
const fetchNow = globalThis.fetch;
let hasCrashed = false;

globalThis.fetch = async (resource, options) => {
  if (!hasCrashed && String(options?.body).includes(words)) {
    hasCrashed = true;
    process.kill(pid, "SIGKILL");
    await new Promise(() => {});
  }
  return await fetchNow(resource, options);
};
