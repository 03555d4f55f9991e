// Bundles the pages into ../pages, with the licences of what is in them. Run: npm ci && npm run build
import { build } from "esbuild";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

const result = await build({
  entryPoints: ["chat.jsx", "ag-ui.js"],
  outdir: "../pages",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  legalComments: "none",
  metafile: true,
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [
    {
      name: "English alone", // zod brings its messages in fifty languages
      setup: (chosen) => {
        chosen.onResolve({ filter: /\/locales\/index\.js$/ }, () => ({ path: "locales", namespace: "none" }));
        chosen.onLoad({ filter: /./, namespace: "none" }, () => ({ contents: "export {}" }));
      },
    },
  ],
});

const folders = new Set();
for (const output of Object.values(result.metafile.outputs)) {
  for (const input of Object.keys(output.inputs)) {
    const found = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
    if (found) folders.add(found[1]);
  }
}

const notices = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file ? readFileSync(`${folder}/${file}`, "utf8").trim() : `Licence: ${license}`;
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync("../pages/LICENSES.txt", notices.join(`\n${"-".repeat(80)}\n\n`));
