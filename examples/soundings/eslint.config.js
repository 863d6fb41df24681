import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['dist/', 'node_modules/'] },
  js.configs.recommended,
  { languageOptions: { globals: globals.node }, rules: { eqeqeq: 'error', 'prefer-const': 'error' } },
];
